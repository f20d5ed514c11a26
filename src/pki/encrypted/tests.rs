use super::*;
use crate::pki::Algorithm;
use crate::pki::peer::Scratch;

const ALL: [Algorithm; 5] =
    [Algorithm::Rsa(2048), Algorithm::P256, Algorithm::P384, Algorithm::P521, Algorithm::Ed25519];

fn passphrase(text: &str) -> Passphrase {
    Passphrase::typed(text).unwrap()
}

/// The public half as OpenSSL sees it.
fn public(scratch: &Scratch, arguments: &[&str]) -> String {
    scratch.openssl(&[&["pkey", "-pubout"], arguments].concat())
}

#[test]
fn openssl_reads_what_is_written() {
    let (scratch, given) = (Scratch::new(), passphrase("open sesame"));
    for algorithm in ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let text = encrypt(&key, &given).unwrap();
        assert!(text.reveal().starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_encrypted(text.reveal()));
        scratch.write("encrypted.pem", text.reveal());
        scratch.write("plain.pem", key.to_pem(Container::Pkcs8).unwrap().reveal());
        let plain = public(&scratch, &["-in", "plain.pem"]);
        let opened = public(&scratch, &["-in", "encrypted.pem", "-passin", "pass:open sesame"]);
        assert_eq!(opened, plain, "{algorithm}");
        let form = scratch.openssl(&["asn1parse", "-in", "encrypted.pem"]);
        for word in ["PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc", ":0927C0"] {
            assert!(form.contains(word), "{algorithm}: {word}: {form}");
        }
        let (wrong, _) =
            scratch.run("openssl", &["pkey", "-in", "encrypted.pem", "-passin", "pass:open", "-noout"]);
        assert!(!wrong, "{algorithm}");
        let again = decrypt(text.reveal(), Some(&given)).unwrap();
        assert_eq!(again.public_digest(), key.public_digest(), "{algorithm}");
    }
}

#[test]
fn gnutls_reads_what_is_written() {
    let (scratch, given) = (Scratch::new(), passphrase("open sesame"));
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    scratch.write("encrypted.pem", encrypt(&key, &given).unwrap().reveal());
    let arguments = ["--key-info", "--infile", "encrypted.pem", "--password", "open sesame"];
    let (content, text) = scratch.run("certtool", &arguments);
    assert!(content && text.contains("SECP256R1"), "{text}");
}

#[test]
fn what_openssl_writes_is_read() {
    let scratch = Scratch::new();
    let forms: [(&str, &[&str]); 9] = [
        ("as it comes", &[]),
        ("AES-128", &["-v2", "aes-128-cbc"]),
        ("AES-192", &["-v2", "aes-192-cbc"]),
        ("many rounds", &["-iter", "100000"]),
        ("HMAC of SHA-1", &["-v2prf", "hmacWithSHA1"]),
        ("HMAC of SHA-384", &["-v2prf", "hmacWithSHA384"]),
        ("HMAC of SHA-512", &["-v2prf", "hmacWithSHA512"]),
        ("scrypt", &["-scrypt"]),
        ("scrypt with more", &["-scrypt_N", "4096", "-scrypt_r", "16", "-scrypt_p", "3"]),
    ];
    let mut read = 0;
    for algorithm in ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        scratch.write("plain.pem", key.to_pem(Container::Pkcs8).unwrap().reveal());
        for (case, options) in forms {
            let common = ["pkcs8", "-topk8", "-in", "plain.pem", "-out", "out.pem", "-passout", "pass:ä b"];
            scratch.openssl(&[&common, options].concat());
            let text = scratch.read("out.pem");
            let again = decrypt(&text, Some(&passphrase("ä b")));
            assert_eq!(again.unwrap().public_digest(), key.public_digest(), "{algorithm}, {case}");
            let wrong = decrypt(&text, Some(&passphrase("ä c"))).err();
            assert_eq!(wrong, Some(EncryptedError::WrongPassphrase), "{algorithm}, {case}");
            assert_eq!(decrypt(&text, None).err(), Some(EncryptedError::NoPassphrase), "{algorithm}, {case}");
            read += 1;
        }
    }
    assert_eq!(read, 45);
}

#[test]
fn the_older_form_is_read() {
    let scratch = Scratch::new();
    for algorithm in &ALL[..4] {
        let key = PrivateKey::generate(*algorithm).unwrap();
        scratch.write("plain.pem", key.to_pem(Container::Pkcs8).unwrap().reveal());
        for cipher in ["-aes256", "-aes192", "-aes128", "-des3"] {
            let arguments = [
                "pkey",
                "-traditional",
                "-in",
                "plain.pem",
                "-out",
                "out.pem",
                cipher,
                "-passout",
                "pass:old",
            ];
            scratch.openssl(&arguments);
            let text = scratch.read("out.pem");
            assert!(text.windows(9).any(|window| window == b"DEK-Info:"), "{algorithm} {cipher}");
            assert!(is_encrypted(&text));
            let again = decrypt(&text, Some(&passphrase("old"))).unwrap();
            assert_eq!(again.public_digest(), key.public_digest(), "{algorithm} {cipher}");
            for wrong in 0..300 {
                // One in 256 has a last block that looks padded.
                let wrong = decrypt(&text, Some(&passphrase(&format!("old{wrong}")))).err();
                assert_eq!(wrong, Some(EncryptedError::WrongPassphrase), "{algorithm} {cipher}");
            }
        }
    }
}

#[test]
fn a_key_that_is_under_none_is_read_as_it_is() {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let text = key.to_pem(Container::Traditional).unwrap();
    assert!(!is_encrypted(text.reveal()));
    for given in [None, Some(&passphrase("x"))] {
        assert_eq!(decrypt(text.reveal(), given).unwrap().public_digest(), key.public_digest());
    }
    assert_eq!(decrypt(b"no key", None).err(), Some(EncryptedError::Key(KeyError::Unreadable)));
}

#[test]
fn files_of_one_line_and_of_several() {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let file = |content: &str| Passphrase::of_file(content).unwrap();
    let cases = [
        ("one line, by its words", "word", "word\n", true),
        ("one line without an end", "word", "word", true),
        ("one line of Windows", "word", "word\r\n", true),
        ("as serverPKI takes one line", "word\n", "word\n", true),
        ("several, whole", "a\nb\n", "a\nb\n", true),
        ("several, without the last end", "a\nb", "a\nb\n", false),
        ("blanks belong to it", " word ", " word \n", true),
        ("blanks are not dropped", "word", " word \n", false),
        ("another word", "word", "words\n", false),
    ];
    for (case, written_by, content, opens) in cases {
        let text = encrypt(&key, &passphrase(written_by)).unwrap();
        let read = decrypt(text.reveal(), Some(&file(content)));
        assert_eq!(read.is_ok(), opens, "{case}: {:?}", read.err());
    }
    for empty in ["", "\n", "\r\n"] {
        assert_eq!(Passphrase::of_file(empty).err(), Some(EncryptedError::EmptyPassphrase), "{empty:?}");
    }
    let scratch = Scratch::new();
    scratch.write("passphrase", "word\n");
    scratch.write("key.pem", encrypt(&key, &file("word\n")).unwrap().reveal());
    scratch.openssl(&["pkey", "-in", "key.pem", "-passin", "file:passphrase", "-noout"]);
}

/// What a file asks for is looked at before it is done.
#[test]
fn hostile_parameters_are_refused_and_not_tried() {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let salt = [7_u8; 16];
    let scrypt = |cost_parameter: u64, block_size: u16, parallelization: u16| {
        let salt = pbes2::Salt::new(salt).unwrap();
        Kdf::Scrypt(pbes2::ScryptParams {
            salt,
            cost_parameter,
            block_size,
            parallelization,
            key_length: None,
        })
    };
    let pbkdf2 = |iteration_count: u32, key_length: Option<u16>| {
        let parameters = Pbkdf2Params::hmac_sha256(1, &salt).unwrap();
        Kdf::Pbkdf2(Pbkdf2Params { iteration_count, key_length, ..parameters })
    };
    let cases = [
        ("2^31 iterations", pbkdf2(1 << 31, None), "2147483648 iterations"),
        ("all iterations that there can be", pbkdf2(u32::MAX, None), "4294967295 iterations"),
        ("one more than the most", pbkdf2(10_000_001, None), "10000001 iterations"),
        ("no iteration", pbkdf2(0, None), "count of 0"),
        ("a long derived key", pbkdf2(1, Some(u16::MAX)), "derived key"),
        ("a short derived key", pbkdf2(1, Some(1)), "derived key"),
        ("gigabytes by N", scrypt(1 << 32, 8, 1), "more memory"),
        ("exabytes by N", scrypt(1 << 63, u16::MAX, 1), "more memory"),
        ("gigabytes by r", scrypt(1 << 14, u16::MAX, 1), "more memory"),
        ("a long time by p", scrypt(1 << 14, 8, u16::MAX), "65535 rounds"),
        ("N of 0", scrypt(0, 8, 1), "damaged"),
        ("N that is no power of two", scrypt(1000, 8, 1), "damaged"),
        ("r of 0", scrypt(1 << 14, 0, 1), "damaged"),
        ("p of 0", scrypt(1 << 14, 8, 0), "damaged"),
    ];
    let began = std::time::Instant::now();
    for (case, kdf, told) in cases {
        let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: [0; 16] };
        let text = written(kdf, encryption);
        let error = decrypt(&text, Some(&passphrase("x"))).unwrap_err();
        assert!(error.to_string().contains(told), "{case}: {error}");
        assert_ne!(error, EncryptedError::WrongPassphrase, "{case}");
    }
    assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    let gcm = pbes2::EncryptionScheme::Aes256Gcm { nonce: [0; 12] };
    let error = decrypt(&written(pbkdf2(1, None), gcm), Some(&passphrase("x"))).unwrap_err();
    assert!(matches!(&error, EncryptedError::Unknown(it) if it.contains("2.16.840")), "{error}");
    drop(key);
}

fn written(kdf: Kdf, encryption: pbes2::EncryptionScheme) -> Vec<u8> {
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: EncryptionScheme::Pbes2(Parameters { kdf, encryption }),
        encrypted_data: OctetStringRef::new(&[0; 64]).unwrap(),
    };
    let document = SecretDocument::encode_msg(&info).unwrap();
    document.to_pem(LABEL, LineEnding::LF).unwrap().as_bytes().to_vec()
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let (key, given) = (PrivateKey::generate(Algorithm::P256).unwrap(), passphrase("x"));
    let text = encrypt(&key, &given).unwrap();
    let body = pem::parse(text.reveal()).unwrap().into_contents();
    let (mut damaged, mut wrong, mut other) = (0, 0, 0);
    let mut look = |body: &[u8]| {
        let text = crate::pki::peer::pem(LABEL, body);
        match decrypt(text.as_bytes(), Some(&given)).map(|key| key.public_digest()) {
            // The first block turns over with its own bits; what is in it there nobody looks at.
            Ok(digest) => assert_eq!(digest, key.public_digest()),
            Err(EncryptedError::WrongPassphrase) => wrong += 1,
            Err(EncryptedError::Damaged(_)) => damaged += 1,
            Err(_) => other += 1,
        }
    };
    (0..body.len()).step_by(3).for_each(|end| look(&body[..end]));
    // Where the count stands a change may be as long as allowed; that is measured elsewhere.
    let count = body.windows(5).position(|window| window == [0x02, 0x03, 0x09, 0x27, 0xc0]).unwrap();
    for at in (0..body.len()).filter(|at| !(count..count + 5).contains(at)).step_by(5) {
        let mut changed = body.clone();
        changed[at] ^= 0x41;
        look(&changed);
    }
    assert!(wrong > 10 && damaged > 10, "{wrong} wrong, {damaged} damaged, {other} other");
    for info in
        ["", "x", "AES-256-CBC", "AES-256-CBC,", "AES-256-CBC,zz", "AES-256-CBC,00", "RC4,0011223344556677"]
    {
        let text = format!(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {info}\n\nAAAA\n\
             -----END RSA PRIVATE KEY-----\n"
        );
        let error = decrypt(text.as_bytes(), Some(&given)).unwrap_err();
        let expected = matches!(error, EncryptedError::Damaged(_) | EncryptedError::Unknown(_));
        assert!(expected, "{info}: {error}");
    }
    let long = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n".to_owned() + &"A".repeat(100_000);
    assert!(matches!(decrypt(long.as_bytes(), Some(&given)), Err(EncryptedError::Damaged(_))));
}

#[test]
fn one_derivation_is_enough_for_any_number_of_keys() {
    let (key, given) = (PrivateKey::generate(Algorithm::P256).unwrap(), passphrase("x"));
    let began = std::time::Instant::now();
    let first = encrypt(&key, &given).unwrap();
    let one = began.elapsed();
    let texts: Vec<Secret> = (0..100).map(|_| encrypt(&key, &given).unwrap()).collect();
    let again = passphrase("x");
    for text in &texts {
        assert_ne!(text, &first, "each has its own first block");
        decrypt(text.reveal(), Some(&again)).unwrap();
    }
    assert!(began.elapsed() < one * 50, "one {one:?}, all {:?}", began.elapsed());
}

#[test]
fn nothing_secret_is_printed() {
    let given = passphrase("open sesame");
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let text = encrypt(&key, &given).unwrap();
    let body: String = String::from_utf8_lossy(&text.reveal()[40..60]).into_owned();
    let error = decrypt(text.reveal(), Some(&passphrase("wrong"))).unwrap_err();
    let shown = format!("{given:?} {text:?} {error} {error:?}");
    assert!(!shown.contains("sesame") && !shown.contains("wrong\"") && !shown.contains(&body), "{shown}");
}
