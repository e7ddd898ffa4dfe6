use super::*;
use proptest::prelude::*;

fn read(bytes: &[u8], step: usize) -> Vec<Document> {
    let mut documents = Documents::default();
    for piece in bytes.chunks(step) {
        assert!(documents.push(piece));
    }
    documents.end();
    documents.collect()
}

fn one(text: &[u8]) -> Document {
    let all = read(text, 4096);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

fn power(document: &Document) -> Option<&str> {
    document.elements.iter().find(|e| e.name == "GET_HOST_POWER")?.get("HOST_POWER")
}

/// The form of an answer of an iLO 3 with firmware 1.82 to `GET_HOST_POWER_STATUS`: seven documents, the power in the fifth.
const ANSWER: &str = "<?xml version=\"1.0\"?>\n<RIBCL VERSION=\"2.23\">\n<RESPONSE\n    STATUS=\"0x0000\"\n    MESSAGE='No error'\n     />\n</RIBCL>\n\
<?xml version=\"1.0\"?>\n<RIBCL VERSION=\"2.23\">\n<RESPONSE\n    STATUS=\"0x0000\"\n    MESSAGE='No error'\n     />\n\
<GET_HOST_POWER\n    HOST_POWER=\"ON\"\n    />\n</RIBCL>\n";

#[test]
fn documents_are_the_same_however_they_are_cut() {
    let whole = read(ANSWER.as_bytes(), ANSWER.len());
    assert_eq!(whole.len(), 2);
    assert!(whole.iter().all(|d| d.whole && d.status == Some(0) && d.message == "No error"));
    assert_eq!(whole[0].version.as_deref(), Some("2.23"));
    assert_eq!(power(&whole[1]), Some("ON"));
    for step in 1..40 {
        assert_eq!(read(ANSWER.as_bytes(), step), whole, "{step}");
    }
}

#[test]
fn a_document_is_there_as_soon_as_it_ends() {
    let mut documents = Documents::default();
    let end = ANSWER.find("</RIBCL>").unwrap() + 8;
    documents.push(&ANSWER.as_bytes()[..end - 1]);
    assert_eq!(documents.next(), None);
    documents.push(&ANSWER.as_bytes()[end - 1..end]);
    assert!(documents.next().is_some());
}

#[test]
fn what_real_devices_get_wrong() {
    // iLO 2: closed at once, and then the content.
    let document = one(b"<RIBCL VERSION=\"2.22\"/><RESPONSE STATUS=\"0x0000\" MSG=\"No error\"/><GET_HOST_POWER HOST_POWER=\"OFF\"/></RIBCL>");
    assert!(document.whole);
    assert_eq!((document.status, power(&document)), (Some(0), Some("OFF")));
    // Quotes in quotes, of both kinds, and a bracket.
    for message in [
        "MSG=\"Command without TOGGLE=\"Yes\" attribute is ignored when host power is off.\"",
        "MESSAGE='Command without TOGGLE=\"Yes\" attribute is ignored when host power is off.'",
        "MESSAGE='can't do > that'",
    ] {
        let text =
            format!("<RIBCL VERSION=\"2.22\"><RESPONSE STATUS=\"0x0054\" {message} /><X Y=\"1\"/></RIBCL>");
        let document = one(text.as_bytes());
        assert_eq!(document.status, Some(0x54), "{text}");
        assert_eq!(
            document.elements,
            [Element { name: "X".into(), attributes: vec![("Y".into(), "1".into())] }]
        );
        assert!(document.message.starts_with("Command without") || document.message == "can't do > that");
    }
    // Bytes that no XML may have.
    let document = one(b"<RIBCL VERSION=\"2.22\">\x01<RESPONSE STATUS=\"0x0000\" MESSAGE='\xe9'/><!-- > \xff --><GET_HOST_POWER HOST_POWER=\"ON\"/></RIBCL>");
    assert_eq!((document.status, power(&document)), (Some(0), Some("ON")));
}

#[test]
fn nothing_is_concluded_from_half_a_document() {
    let cut = &ANSWER[..ANSWER.rfind("</RIBCL>").unwrap()];
    let all = read(cut.as_bytes(), 7);
    assert_eq!((all.len(), all[0].whole, all[1].whole), (2, true, false));
    // The next one begins before the last one has ended.
    let all = read(format!("{cut}{ANSWER}").as_bytes(), 7);
    assert_eq!(all.iter().map(|d| d.whole).collect::<Vec<_>>(), [true, false, true, true]);
}

#[test]
fn an_error_is_not_covered_by_a_second_response() {
    for (text, status) in [
        ("<RESPONSE STATUS=\"0x0001\" MESSAGE='a'/><RESPONSE STATUS=\"0x0000\" MESSAGE='b'/>", Some(1)),
        ("<RESPONSE STATUS=\"0x0000\" MESSAGE='a'/><RESPONSE STATUS=\"0x0023\" MESSAGE='b'/>", Some(0x23)),
        ("<RESPONSE STATUS=\"0\" MESSAGE='a'/>", None),
        ("<RESPONSE STATUS=\"0x00G0\"/>", None),
        ("<RESPONSE STATUS=\"0x+1\"/>", None),
        ("", None),
    ] {
        let document = one(format!("<RIBCL VERSION=\"2.0\">{text}</RIBCL>").as_bytes());
        assert_eq!(document.status, status, "{text}");
    }
}

#[test]
fn what_is_not_ribcl_is_told() {
    let mut documents = Documents::default();
    documents.push(b"\r\n");
    documents.push(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>");
    assert!(documents.foreign_start().is_some_and(|start| start.starts_with("HTTP/1.1 400")));
    assert_eq!(documents.next(), None);
    let mut documents = Documents::default();
    documents.push(ANSWER.as_bytes());
    assert_eq!(documents.foreign_start(), None);
}

#[test]
fn an_endless_answer_is_not_kept() {
    let mut documents = Documents::default();
    let mut taken = 0;
    while documents.push(&[b'x'; 4096]) {
        taken += 4096;
        assert!(taken <= LONGEST);
    }
}

#[test]
fn an_open_quote_does_not_swallow_the_rest() {
    let text =
        format!("<RIBCL VERSION=\"2.0><RESPONSE STATUS=\"0x0000\"/></RIBCL>{}{ANSWER}", " ".repeat(5000));
    let all = read(text.as_bytes(), 512);
    assert!(all.iter().any(|document| document.whole && power(document) == Some("ON")), "{all:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_or_depend_on_where_they_are_cut(
        text in "[<>/='\"! a-zA-Z0-9\n?-]{0,200}", step in 1usize..50
    ) {
        let text = format!("<RIBCL VERSION=\"2\">{text}");
        prop_assert_eq!(read(text.as_bytes(), step), read(text.as_bytes(), 4096));
    }
}
