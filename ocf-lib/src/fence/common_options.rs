//! The options that agents share, by what an agent takes. Names, letters, types, defaults and order
//! are those of upstream's library; the prose is ours.

use super::option::{Kind, OptionDef, option};

/// What an agent takes or lacks; most entries bring one or several common options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// `ip`, `ipport`, and `port_as_ip` with `plug` when the agent has no [`Takes::Plug`].
    Ip,
    /// `username`; required unless [`Takes::NoLogin`].
    Login,
    /// `password` and `password_script`; one of them (or an identity file) required unless [`Takes::NoPassword`].
    Password,
    CommandPrompt,
    /// `ssh`, `identity_file`, `ssh_options`, `inet4_only`, `inet6_only`, `ssh_path`.
    Ssh,
    /// `ssl`, `ssl_insecure`, `ssl_secure`, `gnutlscli_path`.
    Ssl,
    NoTls,
    Tls10,
    /// `telnet_path`, and port 23.
    Telnet,
    /// Port 80.
    Web,
    /// `plug` and `separator`; the device has outlets or guests.
    Plug,
    Switch,
    Exec,
    SessionUrl,
    /// `method` onoff or cycle.
    Method,
    /// `community`, the version 3 options and the paths of the SNMP tools; port 161.
    Snmp,
    SnmpVersion,
    VmwareType,
    VmwareDatacenter,
    MissingAsOff,
    /// `use_sudo` and `sudo_path`.
    Sudo,
    /// `on` sets again what is already on.
    ForceOn,
    /// `on` must run on the node itself.
    OnTarget,
    /// The cluster runs `on` for a node that joins.
    Automatic,
    /// `username` is optional.
    NoLogin,
    /// No password is demanded.
    NoPassword,
    /// `plug` is optional.
    NoPort,
    NoStatus,
    NoOn,
    NoOff,
    /// The device can interrupt its node (NMI).
    Diag,
    /// The agent cuts a node from its storage or network: no reboot, default `off`.
    Fabric,
}

const ACTION: OptionDef =
    option("action").short('o').argument("[action]").default("reboot").required().help("What to do");

const DEFAULT: &[OptionDef] = &[
    option("quiet")
        .short('q')
        .kind(Kind::Flag)
        .order(50)
        .help("Write nothing to standard error; syslog and the debug file are not affected"),
    option("verbose")
        .short('v')
        .kind(Kind::Flag)
        .order(51)
        .help("Tell every step; on the command line several -v say more"),
    option("verbose_level")
        .long("verbose-level")
        .kind(Kind::Integer)
        .order(52)
        .help("How much to tell: the number of -v unless given, 1 for verbose=1 on standard input"),
    option("debug")
        .long("debug-file")
        .short('D')
        .argument("[debugfile]")
        .order(53)
        .help("File to which debug messages are appended; it is created with mode 0600"),
    option("version").short('V').kind(Kind::Flag).order(54).help("Print the version and end"),
    option("help").short('h').kind(Kind::Flag).order(55).help("Print this help and end"),
    option("plug_separator")
        .long("plug-separator")
        .argument("[char]")
        .default(",")
        .order(100)
        .help("What separates several plugs in the value of plug"),
    option("delay")
        .argument("[seconds]")
        .kind(Kind::Second)
        .default("0")
        .order(200)
        .help("Seconds to wait before off and reboot begin"),
    option("disable_timeout")
        .long("disable-timeout")
        .argument("[true/false]")
        .order(200)
        .help(
            "Leave every time limit to the caller: login_timeout, shell_timeout and power_timeout are not kept; true by \
             default when Pacemaker is the caller. With 0, a device that does not answer makes way for the next level of \
             fencing after power_timeout",
        ),
    option("login_timeout")
        .long("login-timeout")
        .argument("[seconds]")
        .kind(Kind::Second)
        .default("5")
        .order(200)
        .help("Seconds for connection and login"),
    option("power_timeout")
        .long("power-timeout")
        .argument("[seconds]")
        .kind(Kind::Second)
        .default("20")
        .order(200)
        .help("Seconds until the device must report the new state"),
    option("power_wait")
        .long("power-wait")
        .argument("[seconds]")
        .kind(Kind::Second)
        .default("0")
        .order(200)
        .help("Seconds of grace after a request; they end early when the device confirms the new state"),
    option("shell_timeout")
        .long("shell-timeout")
        .argument("[seconds]")
        .kind(Kind::Second)
        .default("3")
        .order(200)
        .help("Seconds for one request to the device"),
    option("stonith_status_sleep")
        .long("stonith-status-sleep")
        .argument("[seconds]")
        .kind(Kind::Second)
        .default("1")
        .order(200)
        .help("Longest pause in seconds between two status queries while waiting"),
    option("retry_on")
        .long("retry-on")
        .argument("[attempts]")
        .kind(Kind::Integer)
        .default("1")
        .order(201)
        .help("How often a failed power-on is tried again"),
    option("output")
        .argument("[text/json]")
        .default("text")
        .hidden()
        .order(400)
        .kind(Kind::Choice(&["text", "json"]))
        .help("Form of the results of status, list and list-status"),
];

const IPADDR: OptionDef = option("ipaddr")
    .long("ip")
    .short('a')
    .argument("[ip]")
    .required()
    .help("Address or host name of the fence device");
const IPPORT: OptionDef = option("ipport")
    .short('u')
    .argument("[port]")
    .kind(Kind::Integer)
    .help("TCP or UDP port of the fence device");
const LOGIN: OptionDef =
    option("login").long("username").short('l').argument("[name]").required().help("User name at the device");
const PASSWORD: &[OptionDef] = &[
    option("passwd")
        .long("password")
        .short('p')
        .argument("[password]")
        .secret()
        .help("Password or pass phrase"),
    option("passwd_script")
        .long("password-script")
        .short('S')
        .argument("[script]")
        .help("Command line whose output is the password; it must end with status 0"),
];
const PLUG: OptionDef = option("port")
    .long("plug")
    .short('n')
    .argument("[id]")
    .required()
    .help("Outlet, guest, UUID or other name of the machine at the device");
const SEPARATOR: OptionDef = option("separator")
    .short('C')
    .argument("[char]")
    .default(",")
    .order(100)
    .help("What separates the columns of list");
const PORT_AS_IP: &[OptionDef] = &[
    option("port")
        .long("plug")
        .short('n')
        .argument("[ip]")
        .help("Address or host name of the fence device, together with --port-as-ip"),
    option("port_as_ip")
        .long("port-as-ip")
        .kind(Kind::Flag)
        .order(200)
        .help("Take plug as the address of the device"),
];
const SSH: &[OptionDef] = &[
    option("identity_file")
        .long("identity-file")
        .short('k')
        .argument("[filename]")
        .help("Private key for SSH"),
    option("secure").long("ssh").short('x').kind(Kind::Flag).help("Connect by SSH"),
    option("ssh_options").long("ssh-options").argument("[options]").help("Options for SSH"),
    option("inet4_only").long("inet4-only").short('4').kind(Kind::Flag).help("Use IPv4 only"),
    option("inet6_only").long("inet6-only").short('6').kind(Kind::Flag).help("Use IPv6 only"),
    option("ssh_path")
        .long("ssh-path")
        .argument("[path]")
        .default("/usr/bin/ssh")
        .order(300)
        .help("Path of ssh"),
];
const SSL: &[OptionDef] = &[
    option("ssl").short('z').kind(Kind::Flag).help("Use TLS; the certificate is verified"),
    option("ssl_insecure")
        .long("ssl-insecure")
        .kind(Kind::Flag)
        .help("Use TLS without verifying the certificate: anybody on the way can read the password"),
    option("ssl_secure").long("ssl-secure").kind(Kind::Flag).help("Use TLS and verify the certificate"),
    option("gnutlscli_path")
        .long("gnutlscli-path")
        .argument("[path]")
        .default("/usr/bin/gnutls-cli")
        .order(300)
        .help("Path of gnutls-cli"),
];
const SNMP: &[OptionDef] = &[
    option("community").short('c').argument("[community]").secret().help("SNMP community"),
    option("snmp_auth_prot")
        .long("snmp-auth-prot")
        .short('b')
        .argument("[prot]")
        .kind(Kind::Choice(&["MD5", "SHA"]))
        .help("Authentication protocol of SNMPv3"),
    option("snmp_sec_level")
        .long("snmp-sec-level")
        .short('E')
        .argument("[level]")
        .kind(Kind::Choice(&["noAuthNoPriv", "authNoPriv", "authPriv"]))
        .help("Security level of SNMPv3"),
    option("snmp_priv_prot")
        .long("snmp-priv-prot")
        .short('B')
        .argument("[prot]")
        .kind(Kind::Choice(&["DES", "AES"]))
        .help("Privacy protocol of SNMPv3"),
    option("snmp_priv_passwd")
        .long("snmp-priv-passwd")
        .short('P')
        .argument("[pass]")
        .secret()
        .help("Privacy password of SNMPv3"),
    option("snmp_priv_passwd_script")
        .long("snmp-priv-passwd-script")
        .short('R')
        .help("Command line whose output is the privacy password; it must end with status 0"),
    option("snmpget_path")
        .long("snmpget-path")
        .argument("[path]")
        .default("/usr/bin/snmpget")
        .order(300)
        .help("Path of snmpget"),
    option("snmpset_path")
        .long("snmpset-path")
        .argument("[path]")
        .default("/usr/bin/snmpset")
        .order(300)
        .help("Path of snmpset"),
    option("snmpwalk_path")
        .long("snmpwalk-path")
        .argument("[path]")
        .default("/usr/bin/snmpwalk")
        .order(300)
        .help("Path of snmpwalk"),
];
const SUDO: &[OptionDef] = &[
    option("sudo")
        .long("use-sudo")
        .kind(Kind::Flag)
        .order(205)
        .help("Run external tools through sudo, which must not ask for a password"),
    option("sudo_path")
        .long("sudo-path")
        .argument("[path]")
        .default("/usr/bin/sudo")
        .order(300)
        .help("Path of sudo"),
];

/// The common options of an agent that takes `takes`, unsorted. `nodename` says whether the agent has
/// an option of that name, which stands for plug.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn common(takes: &[Takes], nodename: bool) -> Vec<OptionDef> {
    let has = |what| takes.contains(&what);
    let mut defs = vec![if has(Takes::Fabric) { ACTION.default("off") } else { ACTION }];
    defs.extend_from_slice(DEFAULT);
    let port_as_ip = has(Takes::Ip) && !has(Takes::Plug) && !nodename;
    for take in takes {
        match take {
            Takes::Ip => {
                let mut ip = IPADDR;
                ip.required = !port_as_ip;
                let ipport = match default_port(takes, false, false) {
                    Some(port) => IPPORT.default(port),
                    None => IPPORT,
                };
                defs.extend([ip, ipport]);
            }
            Takes::Login => {
                let mut login = LOGIN;
                login.required = !has(Takes::NoLogin);
                defs.push(login);
            }
            Takes::Password => defs.extend_from_slice(PASSWORD),
            Takes::CommandPrompt => defs.push(
                option("cmd_prompt")
                    .long("command-prompt")
                    .short('c')
                    .argument("[prompt]")
                    .help("Regular expression of the device's prompt"),
            ),
            Takes::Ssh => defs.extend_from_slice(SSH),
            Takes::Ssl => defs.extend_from_slice(SSL),
            Takes::NoTls => defs.push(
                option("notls")
                    .short('t')
                    .kind(Kind::Flag)
                    .help("Speak SSL 3.0 only, for devices that know nothing newer"),
            ),
            Takes::Tls10 => defs.push(
                option("tls1.0")
                    .kind(Kind::Flag)
                    .help("Speak TLS 1.0 only, for devices that know nothing newer"),
            ),
            Takes::Telnet => defs.push(
                option("telnet_path")
                    .long("telnet-path")
                    .argument("[path]")
                    .default("/usr/bin/telnet")
                    .order(300)
                    .help("Path of telnet"),
            ),
            Takes::Plug => defs.extend([PLUG, SEPARATOR]),
            Takes::Switch => defs.push(
                option("switch").short('s').argument("[id]").help("Number of the switch in the device"),
            ),
            Takes::Exec => defs.push(option("exec").short('e').argument("[command]").help("Command to run")),
            Takes::SessionUrl => defs.push(
                option("session_url").long("session-url").short('s').required().help("URL of the server"),
            ),
            Takes::Method => defs.push(
                option("method")
                    .short('m')
                    .argument("[method]")
                    .default("onoff")
                    .kind(Kind::Choice(&["onoff", "cycle"]))
                    .help("How reboot works: off, verified, then on; or the device's own power cycle"),
            ),
            Takes::Snmp => defs.extend_from_slice(SNMP),
            Takes::SnmpVersion => defs.push(
                option("snmp_version")
                    .long("snmp-version")
                    .short('d')
                    .argument("[version]")
                    .kind(Kind::Choice(&["1", "2c", "3"]))
                    .help("Version of SNMP"),
            ),
            Takes::VmwareType => defs
                .extend([option("vmware_type").short('d').argument("[type]").help("Kind of VMware server")]),
            Takes::VmwareDatacenter => defs.push(
                option("vmware_datacenter")
                    .long("vmware-datacenter")
                    .short('s')
                    .argument("[dc]")
                    .order(2)
                    .help("Datacenter in which to look"),
            ),
            Takes::MissingAsOff => defs.push(
                option("missing_as_off")
                    .long("missing-as-off")
                    .kind(Kind::Flag)
                    .order(200)
                    .help("Take a machine that the device does not know as off"),
            ),
            Takes::Sudo => defs.extend_from_slice(SUDO),
            Takes::Web
            | Takes::ForceOn
            | Takes::OnTarget
            | Takes::Automatic
            | Takes::NoLogin
            | Takes::NoPassword
            | Takes::NoPort
            | Takes::NoStatus
            | Takes::NoOn
            | Takes::NoOff
            | Takes::Diag
            | Takes::Fabric => {}
        }
    }
    if port_as_ip {
        defs.extend_from_slice(PORT_AS_IP);
    }
    if has(Takes::NoPort) {
        for def in defs.iter_mut().filter(|d| d.key == "port") {
            def.required = false;
        }
    }
    defs
}

/// The port when none is given, by what the agent takes and what the caller switched on.
pub fn default_port(takes: &[Takes], ssh: bool, ssl: bool) -> Option<&'static str> {
    let has = |what| takes.contains(&what);
    if has(Takes::Snmp) {
        Some("161")
    } else if ssh {
        Some("22")
    } else if ssl {
        Some("443")
    } else if has(Takes::Web) {
        Some("80")
    } else if has(Takes::Telnet) {
        Some("23")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_connection() {
        let takes = [Takes::Ip, Takes::Telnet, Takes::Ssh];
        assert_eq!(default_port(&takes, true, false), Some("22"));
        assert_eq!(default_port(&takes, false, false), Some("23"));
        assert_eq!(default_port(&[Takes::Ip, Takes::Web], false, true), Some("443"));
        assert_eq!(default_port(&[Takes::Snmp], false, true), Some("161"));
    }

    #[test]
    fn port_as_ip_comes_by_itself_and_only_where_it_makes_sense() {
        let has = |takes: &[Takes], nodename| common(takes, nodename).iter().any(|d| d.key == "port_as_ip");
        assert!(has(&[Takes::Ip], false));
        assert!(!has(&[Takes::Ip, Takes::Plug], false));
        assert!(!has(&[Takes::Ip], true));
        assert!(!has(&[], false));
    }
}
