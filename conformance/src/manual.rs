//! The manual page, from the command line's own description.

use crate::command_line::command;
use clap_mangen::Man;
use std::io::{self, Write};

const STATUS: &str = ".SH \"EXIT STATUS\"\n.TP\n0\nnothing was found\n.TP\n1\nthere are findings\n.TP\n2\n\
    it could not judge: something is missing, or nothing was asked\n";

const FILES: &str = ".SH ENVIRONMENT\n.TP\nRINGFENCE_CASES\nfolder that behaviour cases are read from, instead of those built in\n\
    .SH \"SEE ALSO\"\n.BR ocf\\-tester (8),\n.BR crm_resource (8),\n.BR stonith_admin (8)\n";

/// Writes the page, in man(7)'s macros, to standard output.
pub fn print() -> Result<u8, String> {
    let mut page = Vec::new();
    render(&mut page)
        .and_then(|()| io::stdout().write_all(&page))
        .map_err(|why| format!("the manual: {why}"))?;
    Ok(0)
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    page.write_all(b".\\\" Written by `cargo xtask gen` from the command line's description.\n")?;
    let mut whole = command();
    whole.build();
    let man = Man::new(whole.clone()).section("1").date("").manual("Cluster agents");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    for called in
        whole.get_subcommands().filter(|called| !called.is_hide_set() && called.get_name() != "help")
    {
        writeln!(page, ".SH \"COMMAND {}\"", called.get_name().to_uppercase())?;
        let about = called.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "{about}.\n.PP")?;
        // One section for each command, not two.
        let mut options = Vec::new();
        Man::new(called.clone()).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options);
        page.write_all(options.split_once(".SH OPTIONS\n").map_or(&*options, |(_, rest)| rest).as_bytes())?;
    }
    page.write_all(STATUS.as_bytes())?;
    page.write_all(FILES.as_bytes())
}
