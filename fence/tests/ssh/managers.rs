//! The program in the hands of Heartbeat's `stonith`, Pacemaker's `fence_legacy` and its fencer.
