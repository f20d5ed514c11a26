//! Which commands make something that belongs to one machine: a table of programs.

use std::path::PathBuf;

use super::Made;
use super::shell::{Command, assignment, commands};

/// What a command makes; nothing for most.
pub fn makes(command: &Command) -> Option<Made> {
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    let (program, arguments) = program(&words)?;
    by_program(program, arguments).or_else(|| random(command, program))
}

/// The program and its arguments, behind reserved words, assignments and programs that start others.
fn program<'a, 'w>(words: &'w [&'a str]) -> Option<(&'a str, &'w [&'a str])> {
    let skipped =
        words.iter().take_while(|word| RESERVED.contains(word) || assignment(word).is_some()).count();
    let (first, rest) = words.get(skipped..)?.split_first()?;
    let name = base(first);
    if STARTERS.contains(&name) && !rest.first().is_some_and(|word| ["-v", "-V"].contains(word)) {
        let known = |word: &&str| MAKERS.iter().any(|(maker, _)| *maker == base(word));
        if let Some(at) = rest.iter().position(known) {
            return program(rest.get(at..)?);
        }
    }
    Some((name, rest))
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn by_program(program: &str, arguments: &[&str]) -> Option<Made> {
    let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(argument));
    if SHELLS.contains(&program) {
        let script =
            arguments.iter().skip_while(|argument| !argument.starts_with('-') || !argument.ends_with('c'));
        return script.skip(1).find_map(|text| commands(text).iter().find_map(makes));
    }
    if program == "eval" {
        return commands(&arguments.join(" ")).iter().find_map(makes);
    }
    let (_, rule) = MAKERS.iter().find(|(maker, _)| *maker == program)?;
    match rule {
        Rule::Always(made) => Some(*made),
        Rule::With(made, wanted) => has(wanted).then_some(*made),
        Rule::Unless(made, others) => {
            (!others.iter().any(|other| has_option(arguments, other))).then_some(*made)
        }
        Rule::Openssl => openssl(arguments),
        Rule::Code => {
            let says =
                |words: &[&str]| arguments.iter().any(|code| words.iter().any(|word| code.contains(word)));
            says(&["urandom", "secrets.", "SecureRandom", "uuid4"]).then_some(Made::Secret)
        }
    }
}

/// An option of one letter may stand among others: `-lf`.
fn has_option(arguments: &[&str], option: &str) -> bool {
    arguments.iter().any(|argument| {
        let bundle = argument.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        *argument == option
            || (option.len() == 2
                && bundle.is_some_and(|letters| {
                    option.strip_prefix("-").is_some_and(|letter| letters.starts_with(letter))
                }))
    })
}

fn openssl(arguments: &[&str]) -> Option<Made> {
    let (command, options) = arguments.split_first()?;
    let has = |wanted: &[&str]| options.iter().any(|option| wanted.contains(option));
    match *command {
        "req" if has(&["-x509", "-new", "-newkey"]) => Some(Made::Certificate),
        "x509" if has(&["-req", "-signkey"]) => Some(Made::Certificate),
        "ca" if !has(&["-gencrl"]) => Some(Made::Certificate),
        "genrsa" | "genpkey" | "gendsa" => Some(Made::Key),
        "ecparam" | "dsaparam" if has(&["-genkey"]) => Some(Made::Key),
        "rand" => Some(Made::Secret),
        _ => None,
    }
}

/// Whoever reads the kernel's random octets makes a secret of them.
fn random(command: &Command, program: &str) -> Option<Made> {
    let source = |word: &String| {
        let file = word.strip_prefix("if=").unwrap_or(word);
        ["/dev/random", "/dev/urandom", "/dev/hwrng", "/proc/sys/kernel/random/uuid"].contains(&file)
    };
    let reads = command.reads.iter().any(source) || command.words.iter().any(source);
    (reads && !LOOKERS.contains(&program)).then_some(Made::Secret)
}

/// The files that a command seems to write: by redirection, and where its arguments name one in a
/// place for configuration or state that no option makes an input.
pub fn writes(command: &Command) -> Vec<PathBuf> {
    let redirected = command.writes.iter().map(String::as_str);
    let mut input = false;
    let named = command.words.iter().filter_map(|word| {
        let was_input = std::mem::replace(&mut input, INPUTS.contains(&word.as_str()));
        let path = word.split_once('=').map_or(word.as_str(), |(_, value)| value);
        (!was_input && assignment(word).is_none_or(|(name, _)| name == "of")).then_some(path)
    });
    redirected.chain(named).filter(|path| is_place(path)).map(PathBuf::from).collect()
}

fn is_place(path: &str) -> bool {
    let places = ["/etc/", "/var/", "/srv/", "/opt/", "/root/", "/usr/local/", "/usr/share/", "/usr/lib/"];
    let template = path.ends_with(".cnf");
    places.iter().any(|place| path.starts_with(place)) && !template && !path.contains(['$', '*', ' ', '\n'])
}

/// When a program makes something.
enum Rule {
    Always(Made),
    /// With one of these arguments.
    With(Made, &'static [&'static str]),
    /// Unless one of these options only asks for something.
    Unless(Made, &'static [&'static str]),
    Openssl,
    /// Code in an argument that asks for randomness.
    Code,
}

const MAKERS: &[(&str, Rule)] = &[
    ("openssl", Rule::Openssl),
    ("make-ssl-cert", Rule::Always(Made::Certificate)),
    ("make-dummy-cert", Rule::Always(Made::Certificate)),
    ("renew-dummy-cert", Rule::Always(Made::Certificate)),
    ("sscg", Rule::Always(Made::Certificate)),
    (
        "certtool",
        Rule::With(
            Made::Certificate,
            &["-s", "-c", "-p", "--generate-self-signed", "--generate-certificate", "--generate-privkey"],
        ),
    ),
    ("mkcert", Rule::Always(Made::Certificate)),
    ("cockpit-certificate-ensure", Rule::Always(Made::Certificate)),
    ("mysql_ssl_rsa_setup", Rule::Always(Made::Certificate)),
    ("prosodyctl", Rule::With(Made::Certificate, &["cert"])),
    ("easyrsa", Rule::Always(Made::Certificate)),
    ("znc", Rule::With(Made::Certificate, &["--makepem", "-p"])),
    ("keytool", Rule::With(Made::Key, &["-genkey", "-genkeypair", "-genseckey"])),
    ("certutil", Rule::With(Made::Key, &["-S", "-R", "-G"])),
    (
        "ssh-keygen",
        Rule::Unless(
            Made::Key,
            &["-l", "-y", "-R", "-F", "-H", "-B", "-e", "-i", "-s", "-L", "-p", "-Q", "-k"],
        ),
    ),
    ("sshd-keygen", Rule::Always(Made::Key)),
    ("dropbearkey", Rule::Unless(Made::Key, &["-y"])),
    ("rndc-confgen", Rule::Always(Made::Key)),
    ("ddns-confgen", Rule::Always(Made::Key)),
    ("tsig-keygen", Rule::Always(Made::Key)),
    ("dnssec-keygen", Rule::Always(Made::Key)),
    ("unbound-control-setup", Rule::Always(Made::Key)),
    ("nsd-control-setup", Rule::Always(Made::Key)),
    ("wg", Rule::With(Made::Key, &["genkey", "genpsk"])),
    ("chronyc", Rule::With(Made::Key, &["keygen"])),
    ("mungekey", Rule::Always(Made::Key)),
    ("create-munge-key", Rule::Always(Made::Key)),
    ("xrdp-keygen", Rule::Always(Made::Key)),
    ("gpg", Rule::With(Made::Key, GPG)),
    ("gpg2", Rule::With(Made::Key, GPG)),
    ("pki", Rule::With(Made::Key, &["--gen", "-g", "--self", "-s"])),
    ("ipsec", Rule::With(Made::Key, &["newhostkey"])),
    ("openvpn", Rule::With(Made::Key, &["--genkey"])),
    ("tor", Rule::With(Made::Key, &["--keygen"])),
    ("mkpasswd", Rule::Always(Made::Secret)),
    ("pwgen", Rule::Always(Made::Secret)),
    ("pwmake", Rule::Always(Made::Secret)),
    ("makepasswd", Rule::Always(Made::Secret)),
    ("apg", Rule::Always(Made::Secret)),
    ("mcookie", Rule::Always(Made::Secret)),
    ("saslpasswd2", Rule::Unless(Made::Secret, &["-d"])),
    ("uuidgen", Rule::Always(Made::Identifier)),
    ("uuid", Rule::Always(Made::Identifier)),
    ("dbus-uuidgen", Rule::Unless(Made::Identifier, &["--get"])),
    ("systemd-machine-id-setup", Rule::Unless(Made::Identifier, &["--print"])),
    ("iscsi-iname", Rule::Always(Made::Identifier)),
    ("nvme", Rule::With(Made::Identifier, &["gen-hostnqn"])),
    ("python", Rule::Code),
    ("python3", Rule::Code),
    ("perl", Rule::Code),
    ("ruby", Rule::Code),
];

const GPG: &[&str] = &[
    "--gen-key",
    "--generate-key",
    "--full-gen-key",
    "--quick-gen-key",
    "--quick-generate-key",
    "--gen-random",
];

/// Words that stand before a command.
const RESERVED: &[&str] = &["if", "then", "else", "elif", "while", "until", "do", "!", "{", "time"];

/// Programs that start the one that their arguments name.
const STARTERS: &[&str] = &[
    "exec",
    "env",
    "command",
    "nice",
    "ionice",
    "nohup",
    "setsid",
    "timeout",
    "sudo",
    "chroot",
    "su",
    "runuser",
    "setpriv",
    "start-stop-daemon",
    "xargs",
    "find",
    "systemd-run",
];

/// Programs of which an argument is a script.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ksh", "su", "runuser"];

/// Programs that name a source of randomness without taking anything from it.
const LOOKERS: &[&str] = &[
    "[", "[[", "test", "ls", "stat", "mknod", "chmod", "chown", "rm", "ln", "mount", "echo", "printf",
    "shred", "for",
];

/// Options whose value is read.
const INPUTS: &[&str] = &[
    "-config",
    "-in",
    "-key",
    "-CA",
    "-CAkey",
    "-extfile",
    "-rand",
    "--template",
    "--load-privkey",
    "-signkey",
];
