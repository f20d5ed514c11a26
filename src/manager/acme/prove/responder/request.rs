//! http-01: a request for a token gets its key authorization, everything else nothing (RFC 8555 section 8.3).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{PoisonError, RwLock};

use super::{Serve, Wire};

/// Where authorities look, before the token.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// Octets of a request, and fields in it.
const REQUEST: usize = 8 * 1024;
const FIELDS: usize = 64;

/// The pages that are shown: key authorizations by their tokens.
#[derive(Debug, Default)]
pub struct Pages(RwLock<BTreeMap<String, String>>);

impl Pages {
    /// Shows a page.
    pub fn show(&self, token: &str, key_authorization: &str) {
        let mut pages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        pages.insert(token.to_owned(), key_authorization.to_owned());
    }

    /// Takes a page away; says whether none is left.
    pub fn hide(&self, token: &str) -> bool {
        let mut pages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        pages.remove(token);
        pages.is_empty()
    }

    fn page(&self, token: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

impl Serve for Pages {
    fn serve(&self, wire: &mut Wire) {
        let mut request = Vec::new();
        let mut buffer = [0_u8; 1024];
        let asked = loop {
            match read(&request) {
                Asked::NotYet if request.len() < REQUEST => {}
                Asked::NotYet => break Asked::Nonsense,
                asked => break asked,
            }
            match wire.read(&mut buffer) {
                Ok(length @ 1..) => request.extend(buffer.iter().take(length)),
                // Whoever goes away, or takes too long, gets no answer.
                _ => return,
            }
        };
        let answer = match asked {
            Asked::Page { token, with_body } => match self.page(&token) {
                Some(page) => answer("200 OK", &page, with_body),
                None => answer("404 Not Found", "", with_body),
            },
            Asked::Other => answer("404 Not Found", "", true),
            Asked::Nonsense | Asked::NotYet => answer("400 Bad Request", "", true),
        };
        let _ = wire.write_all(answer.as_bytes());
    }
}

fn answer(status: &str, page: &str, with_body: bool) -> String {
    let length = page.len();
    let body = if with_body { page } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The page of a token, by GET, or only what is said about it, by HEAD.
    Page { token: String, with_body: bool },
    /// Something that is never here.
    Other,
    /// It is no HTTP.
    Nonsense,
    /// The request has not come to its end.
    NotYet,
}

/// Reads a request as far as it has come.
fn read(octets: &[u8]) -> Asked {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(octets) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Asked::NotYet,
        Err(_) => return Asked::Nonsense,
    }
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Asked::Other,
    };
    match request.path.and_then(path).and_then(|path| path.strip_prefix(PATH)) {
        Some(token) => Asked::Page { token: token.to_owned(), with_body },
        None => Asked::Other,
    }
}

/// The path of a target, which may be a whole URL (RFC 9112 section 3.2.2).
fn path(target: &str) -> Option<&str> {
    let Some(rest) = target.strip_prefix("http://") else { return Some(target) };
    rest.find('/').and_then(|start| rest.get(start..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: &str, with_body: bool) -> Asked {
        Asked::Page { token: token.to_owned(), with_body }
    }

    #[test]
    fn requests() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1));
        let cases: [(&str, &[u8], Asked); 20] = [
            (
                "a token",
                b"GET /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: a\r\n\r\n",
                page("abc", true),
            ),
            ("no fields", b"GET /.well-known/acme-challenge/abc HTTP/1.0\r\n\r\n", page("abc", true)),
            ("bare line feeds", b"GET /.well-known/acme-challenge/abc HTTP/1.0\n\n", page("abc", true)),
            ("HEAD", b"HEAD /.well-known/acme-challenge/a-_b HTTP/1.1\r\n\r\n", page("a-_b", false)),
            (
                "a proxy's form",
                b"GET http://a.example:80/.well-known/acme-challenge/abc HTTP/1.1\r\n\r\n",
                page("abc", true),
            ),
            ("a proxy's form without path", b"GET http://a.example HTTP/1.1\r\n\r\n", Asked::Other),
            // What follows is a token that nobody knows: it is looked up, and never a path.
            ("dots", b"GET /.well-known/acme-challenge/../../etc HTTP/1.1\r\n\r\n", page("../../etc", true)),
            ("no token", b"GET /.well-known/acme-challenge/ HTTP/1.1\r\n\r\n", page("", true)),
            ("a query", b"GET /.well-known/acme-challenge/abc?d HTTP/1.1\r\n\r\n", page("abc?d", true)),
            ("another path", b"GET / HTTP/1.1\r\n\r\n", Asked::Other),
            ("the path in capitals", b"GET /.Well-Known/acme-challenge/abc HTTP/1.1\r\n\r\n", Asked::Other),
            ("POST", b"POST /.well-known/acme-challenge/abc HTTP/1.1\r\n\r\n", Asked::Other),
            (
                "a method in small letters",
                b"get /.well-known/acme-challenge/abc HTTP/1.1\r\n\r\n",
                Asked::Other,
            ),
            ("half a line", b"GET /.well-known/acme-ch", Asked::NotYet),
            ("nothing", b"", Asked::NotYet),
            ("no end", b"GET / HTTP/1.1\r\nHost: a\r\n", Asked::NotYet),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Asked::Nonsense),
            ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Asked::Nonsense),
            ("a zero octet", b"GET /\0 HTTP/1.1\r\n\r\n", Asked::Nonsense),
            ("too many fields", many.as_bytes(), Asked::Nonsense),
        ];
        for (case, request, expected) in cases {
            assert_eq!(read(request), expected, "{case}");
        }
    }

    #[test]
    fn a_page_is_gone_once_it_is_hidden() {
        let pages = Pages::default();
        pages.show("a", "a.x");
        pages.show("b", "b.x");
        assert!(!pages.hide("a") && pages.page("a").is_none());
        assert_eq!(pages.page("b").as_deref(), Some("b.x"));
        assert!(pages.hide("b"));
    }
}
