//! Texts that nobody meant: whatever is in them, they are read or refused.

use super::*;

/// Small and always the same (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}

/// What is put in: what means something in TOML or to us, and what means nothing anywhere.
const PIECES: [&str; 40] = [
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "\\",
    "\u{0}",
    "é",
    "\u{fffd}",
    "-1",
    "0",
    "99999999999999999999",
    "1e999",
    "nan",
    "0x",
    "_",
    "true",
    "1979-05-27",
    "'''",
    "\"\"\"",
    "*",
    "ALL",
    "[globals]\n",
    "[CA]\n",
    "signing_ca = \"root\"\n",
    "target_1.5 = 1\n",
    "sans = [[]]\n",
    "/",
    "..",
    "MX",
    "[renew_info.target_1.2]\n",
    "\u{10ffff}",
];

fn mutated(random: &mut Random, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(letters.len() + 1);
        let piece = PIECES[random.below(PIECES.len())].chars();
        match random.below(4) {
            0 => {
                letters.splice(at..at, piece);
            }
            1 => {
                let end = (at + random.below(12)).min(letters.len());
                letters.splice(at..end, piece);
            }
            2 => {
                let end = (at + random.below(40)).min(letters.len());
                letters.drain(at..end);
            }
            // A part of itself somewhere else: keys in other tables, values at other keys.
            _ => {
                let from = random.below(letters.len() + 1);
                let end = (from + random.below(60)).min(letters.len());
                let part: Vec<char> = letters[from..end].to_vec();
                letters.splice(at..at, part);
            }
        }
    }
    letters.into_iter().collect()
}

#[test]
fn twenty_thousand_mutations() {
    let texts = [
        ("ssl-mgr.conf", site()),
        ("ca-info.conf", AUTHORITIES.into()),
        ("ca/root", ROOT.into()),
        ("example.com/web", web()),
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut noted, mut usable) = (0, 0);
    for _ in 0..20_000 {
        let broken = random.below(texts.len());
        let changed = mutated(&mut random, &texts[broken].1);
        let files: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(index, (path, text))| {
                (*path, if index == broken { changed.as_str() } else { text.as_str() })
            })
            .collect();
        let found = tree(&files);
        noted += usize::from(!found.faults.is_empty());
        usable += found.services.len();
        for note in found.faults.iter().chain(&found.warnings) {
            let shown = note.to_string();
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
            assert!(shown.len() < 2000, "{shown}");
        }
        // Whatever is left can be chosen and described.
        crate::manager::select::select(&found, &[]).unwrap();
        let outlooks = crate::manager::describe::describe(&found);
        assert_eq!(outlooks.len(), found.services.len() - usize::from(found.is_broken) * unresolved(&found));
        assert!(outlooks.iter().all(|outlook| !outlook.to_string().is_empty()));
    }
    // Most mutations hurt, and few hurt more than their own file.
    assert!(noted > 10_000 && usable > 20_000, "{noted} with faults, {usable} services usable");
}

/// Services whose signer is unknown because `ca-info.conf` cannot be parsed.
fn unresolved(configuration: &Configuration) -> usize {
    configuration.services.values().filter(|service| configuration.signing(service).is_none()).count()
}

/// Every key that there is.
fn site() -> String {
    format!(
        "[globals]\nverb = true\nprod_cert_dir = './live'\nlogdir = '/l'\nclean_keep = 3\nmin_roll_mins = 1.5\n\
         dns_check_delay = 3\ndns_xtra_ns = ['1.1.1.1', 'a.b']\npost_copy_cmd = [['a', '/b']]\n\
         renew_expire_days = 30\n[renew_info]\ntarget_45 = 12.0\nrand_adj_7.5 = 1\n\
         [[dns_primary]]\ndomain = '*'\nserver = '::1'\nport = 53\n\
         [dns]\nrestart_cmd = '/z'\nacme_dir = 'a'\ntlsa_dirs = ['b']\ndepends = ['dns']\n\
         [web]\nservers = ['w']\nserver_dir = '/w'\nrestart_cmd = ['a b', 'c']\ndepends = 'cert'\n\
         svc_depends = [['any', ['web']], ['ca', 'root']]\nskip_prod_copy = true\n{SITE}"
    )
}

fn web() -> String {
    let head = "dane_tls = [[25, 'tcp', 3, 1, 1, 'MX'], [443, 'tcp', 3, 1, 1]]\ndane_tls_ttl = 60\nrenew_expire_days = 3\n";
    let key = "[KeyOpts]\nktype = 'rsa'\nbits = 2048\nec_algo = 'secp384r1'";
    let names = "sans = ['*.example.com', '192.0.2.1', 'bücher.example']\nemail = 'a@b'\n";
    format!("{head}{}{names}", WEB.replace("[KeyOpts]", key))
}

#[test]
fn depth_and_length() {
    let deep = format!("sans = {}1{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let dotted = format!("{}x = 1\n", "a.".repeat(10_000));
    let long = format!("{} = 1\n", "k".repeat(1_000_000));
    let circle: String = (0..2000).map(|i| format!("[c{i}]\nca_type = 'self'\n")).collect();
    for text in [&deep, &dotted, &long] {
        let found = with_leaf(&format!("{text}{WEB}"));
        assert!(!found.faults.is_empty() || !found.warnings.is_empty());
        with_site(text);
    }
    // Two thousand that sign each other in one circle.
    let services: Vec<(String, String)> = (0..2000)
        .map(|i| {
            let text = ROOT.replace("\"root\"", &format!("\"c{i}\""));
            let signer = format!("signing_ca = \"c{}\"\n[KeyOpts]", (i + 1) % 2000);
            (format!("ca/c{i}"), text.replace("[KeyOpts]", &signer))
        })
        .collect();
    let mut files = vec![("ssl-mgr.conf", ""), ("ca-info.conf", circle.as_str())];
    files.extend(services.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let found = tree(&files);
    assert_eq!((found.services.len(), found.refused.len()), (0, 2000));
}
