use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The command lines, or what is printed, or why it is refused.
fn run(arguments: &str) -> Result<String, String> {
    match translate(&words(arguments)) {
        Ok(Translation::Run(lines)) => {
            Ok(lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>().join(" ; "))
        }
        Ok(Translation::Print(text)) => Ok(format!("print: {}", text.trim_end())),
        Err(Usage(message)) => Err(message),
    }
}

#[test]
fn actions() {
    let none = "print: no certificate is selected; -a, -o, -i or -r selects some";
    let cases = [
        ("nothing", "", "print: nothing is asked for"),
        ("nothing, quietly", "-q", "print: "),
        ("only a selection", "-a", "print: nothing is asked for"),
        ("cron", "-S -q -a", "schedule --quiet --all"),
        ("schedule, nothing selected", "-S", none),
        ("schedule, nothing selected, quietly", "-Sq", "print: "),
        ("schedule, what would be done", "-S -n -a -d", "schedule --verbose --dry-run --all"),
        ("create one", "-C -o a.example", "issue a.example"),
        ("create two", "-C -o a.example --only b.example", "issue a.example b.example"),
        ("create all but one", "-Ca -e a.example", "issue --all --exclude=a.example"),
        ("create some", "-C -i a.example -i b.example", "issue --include=a.example --include=b.example"),
        ("-i adds", "-C -a -i a.example", "issue --all --include=a.example"),
        ("-o is exact", "-C -a -o a.example -i b.example -e a.example", "issue a.example"),
        ("only an exclusion selects nothing", "-C -e a.example", none),
        ("renew", "-r 30", "renew --within 30 --all"),
        ("renew, long", "--renew-local-certs=30 -v", "renew --verbose --within 30 --all"),
        ("renew what has ended", "-r 0", "renew --within 0 --all"),
        ("renew, all said", "-r 30 -a", "renew --within 30 --all"),
        ("renew one", "-r 30 -o a.example", "renew --within 30 a.example"),
        ("renew, shown", "-r 30 -n", "renew --within 30 --dry-run --all"),
        ("create and distribute", "-CD -o a.example", "issue a.example ; distribute a.example"),
        ("the same the other way", "-D -C -o a.example", "issue a.example ; distribute a.example"),
        ("distribute what was renewed", "-r 30 -D", "distribute --within 30 --all"),
        (
            "distribute to some hosts",
            "-D -a -s h1 -l h2 -l h3 -N",
            "distribute --skip-host=h1 --only-host=h2 --only-host=h3 --no-tlsa --all",
        ),
        ("consolidate", "-K -a -l h1", "consolidate --only-host=h1 --all"),
        ("consolidate both", "-TK -a", "consolidate --all ; tlsa --all"),
        ("publish again", "-T -a", "tlsa --all"),
        ("take records away", "-R -o a.example", "tlsa --remove a.example"),
        ("export", "-E 17", "export 17"),
        ("export, joined", "-E17", "export 17"),
        ("export, long and short", "--export=17", "export 17"),
        ("encrypt", "-X", "keys encrypt --refuse-already"),
        ("encrypt, shown only", "-Xn", "keys encrypt --refuse-already --dry-run"),
        ("decrypt", "--decrypt-keys -v", "keys decrypt --verbose --refuse-already"),
        ("decrypt, quietly", "-qY", "keys decrypt --quiet --refuse-already"),
        ("an authority", "-I", "ca"),
        ("an authority, shown only", "-n -I", "ca --dry-run"),
        ("register", "-Z", "register"),
        ("register, shown only", "-nZ", "print: nothing is done because of -n"),
        ("export, shown only", "-n -E 3", "print: nothing is done because of -n"),
        ("list", "-n -a", "check --verbose --all"),
        ("list one", "-n -o a.example", "check --verbose a.example"),
        ("list nothing", "-n", none),
        ("list, and nothing is done", "-n -C -D -a", "check --verbose --all"),
        ("list, and nothing is taken away", "-n -R -a", "check --verbose --all"),
        ("another configuration", "-S -a -f /etc/x.conf", "schedule --config=/etc/x.conf --all"),
        (
            "the same, long",
            "-X --config_file /etc/x.conf",
            "keys encrypt --config=/etc/x.conf --refuse-already",
        ),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(run(arguments), Ok(expected.to_owned()), "{name}: {arguments}");
    }
}

#[test]
fn as_optparse_takes_them() {
    let cases = [
        ("shortened", "--sched --al", "schedule --all"),
        ("shortened to one letter", "--sc --a", "schedule --all"),
        ("value behind =", "--create --only=a.example", "issue a.example"),
        ("value as the next word", "--create --only a.example", "issue a.example"),
        ("value joined", "-Coa.example", "issue a.example"),
        ("a value with a dash", "-C -o -odd", "issue -- -odd"),
        ("a value with a dash, excluded", "-Ca -e -odd", "issue --all --exclude=-odd"),
        ("words of nobody", "-S some -a words", "schedule --all"),
        ("end of options", "-S -a -- -C", "schedule --all"),
        ("a dash alone", "-S - -a", "schedule --all"),
        ("twice", "-S -S -a -a", "schedule --all"),
        ("a value twice", "-r 10 -r 20", "renew --within 20 --all"),
        ("letters are no word", "-Sall", "schedule --only-host=l --all"),
        ("small and large letters differ", "-D -a -d", "distribute --verbose --all"),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(run(arguments), Ok(expected.to_owned()), "{name}: {arguments}");
    }
}

#[test]
fn refused() {
    let cases = [
        ("three actions", "-C -D -K -a", "too many actions"),
        ("four", "-CDKT -a", "too many actions"),
        ("two that do not belong together", "-C -K -a", "do not go together"),
        ("create and renew", "-C -r 3", "do not go together"),
        ("distribute and consolidate", "-D -K -a", "do not go together"),
        ("distribute and publish", "-DT -a", "do not go together"),
        ("also where nothing would be done", "-n -C -K -a", "do not go together"),
        ("unknown", "--frobnicate", "--frobnicate"),
        ("unknown letter", "-x", "-x"),
        ("ambiguous", "--consolidate -a", "--consolidate"),
        ("a value too many", "--all=yes", "yes"),
        ("no value", "-S -o", "--only"),
        ("no number", "-r soon", "soon"),
        ("a negative number", "-r -1", "-1"),
        ("no serial", "-E x", "x"),
    ];
    for (name, arguments, told) in cases {
        let message = run(arguments).unwrap_err();
        assert!(message.contains(told), "{name}: {arguments}: {message}");
        assert!(!message.starts_with("error"), "{name}: {message}");
    }
}

/// Of all pairs, three are taken, and none of three.
#[test]
fn every_pair() {
    let options = ["-C", "-r 9", "-S", "-D", "-K", "-T", "-R", "-E 7", "-X", "-Y", "-I", "-Z"];
    let mut taken = Vec::new();
    for (at, first) in options.iter().enumerate() {
        for (other, second) in options.iter().enumerate().skip(at + 1) {
            match run(&format!("{first} {second} -a")) {
                Ok(_) => taken.push(format!("{first} {second}")),
                Err(message) => {
                    let alone = ["-S", "-R", "-E 7", "-X", "-Y", "-I", "-Z"];
                    let has_alone = [first, second].iter().any(|option| alone.contains(option));
                    assert_eq!(message.contains("with another action"), has_alone, "{message}");
                }
            }
            for third in options.iter().skip(other + 1) {
                assert!(run(&format!("{first} {second} {third} -a")).is_err(), "{first} {second} {third}");
            }
        }
    }
    assert_eq!(taken, ["-C -D", "-r 9 -D", "-K -T"]);
}

/// Every beginning of a long option that is unique is that option, and no other beginning is taken.
#[test]
fn a_beginning_means_the_whole_or_nothing() {
    let mut command = definition();
    command.build();
    let long: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    assert_eq!(long.len(), 25, "{long:?}");
    let valued = [
        "renew-local-certs",
        "export-cert-and-key",
        "only",
        "include",
        "exclude",
        "skip-disthost",
        "limit-to-disthost",
        "config_file",
    ];
    for name in &long {
        let value = if valued.contains(name) { "=7" } else { "" };
        let whole = run(&format!("--{name}{value}"));
        assert!(whole.is_ok(), "{name}: {whole:?}");
        for begun in (1..name.len()).map(|end| &name[..end]) {
            let read = run(&format!("--{begun}{value}"));
            match long.iter().filter(|other| other.starts_with(begun)).count() {
                1 => assert_eq!(read, whole, "--{begun} for --{name}"),
                _ => assert!(read.is_err(), "--{begun}: {read:?}"),
            }
        }
    }
}

#[test]
fn help_names_every_option() {
    let help = run("-h").unwrap();
    for option in [
        "-C",
        "-r",
        "-S",
        "-D",
        "-K",
        "-T",
        "-R",
        "-E",
        "-X",
        "-Y",
        "-I",
        "-Z",
        "-n",
        "-a",
        "-o",
        "-i",
        "-e",
        "-s",
        "-l",
        "-N",
        "-d",
        "-v",
        "-q",
        "-f",
        "operate_serverPKI",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
}
