//! Parameters of Diffie-Hellman key exchange in a finite field: the published groups of RFC 7919, and
//! groups of one's own.
//!
//! A published group costs nothing and cannot be weak. One that is generated on the spot takes minutes
//! to hours; it is there for sites whose rules ask for it.

use std::fmt;
use std::sync::OnceLock;
use std::thread;

use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use der::asn1::{AnyRef, UintRef};
use der::{Decode, Encode};
use getrandom::{SysRng, rand_core::UnwrapErr};
use rsa::BoxedUint;
use serde::{Serialize, Serializer};

use super::key::{KeyError, library};

/// The groups of RFC 7919 appendix A, strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 2048 bits: appendix A.1.
    Ffdhe2048,
    /// 3072 bits: appendix A.2.
    Ffdhe3072,
    /// 4096 bits: appendix A.3.
    Ffdhe4096,
    /// 6144 bits: appendix A.4.
    Ffdhe6144,
    /// 8192 bits: appendix A.5.
    Ffdhe8192,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ffdhe2048, Self::Ffdhe3072, Self::Ffdhe4096, Self::Ffdhe6144, Self::Ffdhe8192];

    /// Reads the name that the RFC gives it, `ffdhe3072`; nothing for any other.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// The name that the RFC gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ffdhe2048 => "ffdhe2048",
            Self::Ffdhe3072 => "ffdhe3072",
            Self::Ffdhe4096 => "ffdhe4096",
            Self::Ffdhe6144 => "ffdhe6144",
            Self::Ffdhe8192 => "ffdhe8192",
        }
    }

    /// Its numbers.
    pub fn parameters(self) -> Parameters {
        let digits = match self {
            Self::Ffdhe2048 => FFDHE2048,
            Self::Ffdhe3072 => FFDHE3072,
            Self::Ffdhe4096 => FFDHE4096,
            Self::Ffdhe6144 => FFDHE6144,
            Self::Ffdhe8192 => FFDHE8192,
        };
        let pair = |pair: &[u8]| {
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0)
        };
        Parameters { prime: digits.as_bytes().chunks(2).map(pair).collect(), generator: vec![2] }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The prime and the generator that both sides agree on. Nothing about them is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Most significant octet first, without leading zeros.
    prime: Vec<u8>,
    /// Likewise.
    generator: Vec<u8>,
}

impl Parameters {
    /// Searches a safe prime of that many bits for the generator 2, with every processor there is: about
    /// a minute of one processor for 2048 bits, half an hour for 4096, half a day for 8192.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the kernel has no randomness to give, [`KeyError::Library`] for a size
    /// for which there is no safe prime.
    pub fn generate(bits: u32) -> Result<Self, KeyError> {
        // Asked for once by hand: the library below panics where the kernel refuses.
        let mut probe = [0_u8; 1];
        getrandom::fill(&mut probe).map_err(|error| KeyError::Random(error.to_string()))?;
        let found = OnceLock::new();
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| search(bits, &found));
            }
        });
        let prime = found.into_inner().unwrap_or_else(|| Err("nothing was found".to_owned()));
        let prime = prime.map_err(library)?.to_be_bytes_trimmed_vartime();
        Ok(Self { prime: prime.into_vec(), generator: vec![2] })
    }

    /// Reads the parameters of PKCS#3 (RFC 2631 appendix, `DHParameter`) or of X9.42 (RFC 3279
    /// section 2.3.3): both begin with the prime and the generator.
    ///
    /// # Errors
    /// In words, for anything else.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let wrong = || "not Diffie-Hellman parameters".to_owned();
        let fields = Vec::<AnyRef<'_>>::from_der(der).map_err(|_| wrong())?;
        let number = |at: usize| -> Result<Vec<u8>, String> {
            let field = fields.get(at).ok_or_else(wrong)?;
            let number: UintRef<'_> = field.decode_as().map_err(|_| wrong())?;
            Ok(number.as_bytes().to_vec())
        };
        Ok(Self { prime: number(0)?, generator: number(1)? })
    }

    /// The PEM text of the parameters as of PKCS#3, which every program reads.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot encode them.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let prime = UintRef::new(&self.prime).map_err(library)?;
        let generator = UintRef::new(&self.generator).map_err(library)?;
        let der = vec![prime, generator].to_der().map_err(library)?;
        let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        Ok(pem::encode_config(&pem::Pem::new(LABEL, der), unix))
    }

    /// The length of the prime.
    pub fn bits(&self) -> usize {
        let leading = self.prime.first().map_or(0, |octet| octet.leading_zeros() as usize);
        (self.prime.len() * 8).saturating_sub(leading)
    }

    /// The published group that they are, if they are one.
    pub fn group(&self) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.parameters() == *self)
    }

    /// The generator, where it is a small number, as it is in practice.
    pub fn generator(&self) -> Option<u8> {
        match self.generator.as_slice() {
            [generator] => Some(*generator),
            _ => None,
        }
    }
}

/// What PEM calls them.
pub const LABEL: &str = "DH PARAMETERS";

/// Looks for a prime until this or another worker has found one.
fn search(bits: u32, found: &OnceLock<Result<BoxedUint, String>>) {
    let prime = SmallFactorsSieveFactory::new(Flavor::Safe, bits, SetBits::Msb).and_then(|factory| {
        sieve_and_find(&mut UnwrapErr(SysRng), factory, |_, candidate| {
            found.get().is_some() || (has_square_two(candidate) && is_prime(Flavor::Safe, candidate))
        })
    });
    let prime = match prime {
        Ok(Some(prime)) => Ok(prime),
        Ok(None) => Err(format!("there is no safe prime of {bits} bits")),
        Err(error) => Err(error.to_string()),
    };
    // Whoever is second has only stopped.
    let _ = found.set(prime);
}

/// Two is a square, and so generates the subgroup of prime order, where the prime leaves 7 divided by 8:
/// otherwise each public key would give a bit of its secret away.
fn has_square_two(prime: &BoxedUint) -> bool {
    prime.as_words().first().is_some_and(|word| word % 8 == 7)
}

const FFDHE2048: &str = "\
    FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9\
    7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935\
    984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB\
    B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61\
    9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA\
    886B423861285C97FFFFFFFFFFFFFFFF";

const FFDHE3072: &str = "\
    FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9\
    7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935\
    984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB\
    B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61\
    9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA\
    886B4238611FCFDCDE355B3B6519035BBC34F4DEF99C023861B46FC9D6E6C9077AD91D2691F7F7EE598CB0FAC186D91C\
    AEFE130985139270B4130C93BC437944F4FD4452E2D74DD364F2E21E71F54BFF5CAE82AB9C9DF69EE86D2BC522363A0D\
    ABC521979B0DEADA1DBF9A42D5C4484E0ABCD06BFA53DDEF3C1B20EE3FD59D7C25E41D2B66C62E37FFFFFFFFFFFFFFFF";

const FFDHE4096: &str = "\
    FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9\
    7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935\
    984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB\
    B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61\
    9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA\
    886B4238611FCFDCDE355B3B6519035BBC34F4DEF99C023861B46FC9D6E6C9077AD91D2691F7F7EE598CB0FAC186D91C\
    AEFE130985139270B4130C93BC437944F4FD4452E2D74DD364F2E21E71F54BFF5CAE82AB9C9DF69EE86D2BC522363A0D\
    ABC521979B0DEADA1DBF9A42D5C4484E0ABCD06BFA53DDEF3C1B20EE3FD59D7C25E41D2B669E1EF16E6F52C3164DF4FB\
    7930E9E4E58857B6AC7D5F42D69F6D187763CF1D5503400487F55BA57E31CC7A7135C886EFB4318AED6A1E012D9E6832\
    A907600A918130C46DC778F971AD0038092999A333CB8B7A1A1DB93D7140003C2A4ECEA9F98D0ACC0A8291CDCEC97DCF\
    8EC9B55A7F88A46B4DB5A851F44182E1C68A007E5E655F6AFFFFFFFFFFFFFFFF";

const FFDHE6144: &str = "\
    FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9\
    7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935\
    984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB\
    B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61\
    9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA\
    886B4238611FCFDCDE355B3B6519035BBC34F4DEF99C023861B46FC9D6E6C9077AD91D2691F7F7EE598CB0FAC186D91C\
    AEFE130985139270B4130C93BC437944F4FD4452E2D74DD364F2E21E71F54BFF5CAE82AB9C9DF69EE86D2BC522363A0D\
    ABC521979B0DEADA1DBF9A42D5C4484E0ABCD06BFA53DDEF3C1B20EE3FD59D7C25E41D2B669E1EF16E6F52C3164DF4FB\
    7930E9E4E58857B6AC7D5F42D69F6D187763CF1D5503400487F55BA57E31CC7A7135C886EFB4318AED6A1E012D9E6832\
    A907600A918130C46DC778F971AD0038092999A333CB8B7A1A1DB93D7140003C2A4ECEA9F98D0ACC0A8291CDCEC97DCF\
    8EC9B55A7F88A46B4DB5A851F44182E1C68A007E5E0DD9020BFD64B645036C7A4E677D2C38532A3A23BA4442CAF53EA6\
    3BB454329B7624C8917BDD64B1C0FD4CB38E8C334C701C3ACDAD0657FCCFEC719B1F5C3E4E46041F388147FB4CFDB477\
    A52471F7A9A96910B855322EDB6340D8A00EF092350511E30ABEC1FFF9E3A26E7FB29F8C183023C3587E38DA0077D9B4\
    763E4E4B94B2BBC194C6651E77CAF992EEAAC0232A281BF6B3A739C1226116820AE8DB5847A67CBEF9C9091B462D538C\
    D72B03746AE77F5E62292C311562A846505DC82DB854338AE49F5235C95B91178CCF2DD5CACEF403EC9D1810C6272B04\
    5B3B71F9DC6B80D63FDD4A8E9ADB1E6962A69526D43161C1A41D570D7938DAD4A40E329CD0E40E65FFFFFFFFFFFFFFFF";

const FFDHE8192: &str = "\
    FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9\
    7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935\
    984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB\
    B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61\
    9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA\
    886B4238611FCFDCDE355B3B6519035BBC34F4DEF99C023861B46FC9D6E6C9077AD91D2691F7F7EE598CB0FAC186D91C\
    AEFE130985139270B4130C93BC437944F4FD4452E2D74DD364F2E21E71F54BFF5CAE82AB9C9DF69EE86D2BC522363A0D\
    ABC521979B0DEADA1DBF9A42D5C4484E0ABCD06BFA53DDEF3C1B20EE3FD59D7C25E41D2B669E1EF16E6F52C3164DF4FB\
    7930E9E4E58857B6AC7D5F42D69F6D187763CF1D5503400487F55BA57E31CC7A7135C886EFB4318AED6A1E012D9E6832\
    A907600A918130C46DC778F971AD0038092999A333CB8B7A1A1DB93D7140003C2A4ECEA9F98D0ACC0A8291CDCEC97DCF\
    8EC9B55A7F88A46B4DB5A851F44182E1C68A007E5E0DD9020BFD64B645036C7A4E677D2C38532A3A23BA4442CAF53EA6\
    3BB454329B7624C8917BDD64B1C0FD4CB38E8C334C701C3ACDAD0657FCCFEC719B1F5C3E4E46041F388147FB4CFDB477\
    A52471F7A9A96910B855322EDB6340D8A00EF092350511E30ABEC1FFF9E3A26E7FB29F8C183023C3587E38DA0077D9B4\
    763E4E4B94B2BBC194C6651E77CAF992EEAAC0232A281BF6B3A739C1226116820AE8DB5847A67CBEF9C9091B462D538C\
    D72B03746AE77F5E62292C311562A846505DC82DB854338AE49F5235C95B91178CCF2DD5CACEF403EC9D1810C6272B04\
    5B3B71F9DC6B80D63FDD4A8E9ADB1E6962A69526D43161C1A41D570D7938DAD4A40E329CCFF46AAA36AD004CF600C838\
    1E425A31D951AE64FDB23FCEC9509D43687FEB69EDD1CC5E0B8CC3BDF64B10EF86B63142A3AB8829555B2F747C932665\
    CB2C0F1CC01BD70229388839D2AF05E454504AC78B7582822846C0BA35C35F5C59160CC046FD8251541FC68C9C86B022\
    BB7099876A460E7451A8A93109703FEE1C217E6C3826E52C51AA691E0E423CFC99E9E31650C1217B624816CDAD9A95F9\
    D5B8019488D9C0A0A1FE3075A577E23183F81D4A3F2FA4571EFC8CE0BA8A4FE8B6855DFE72B0A66EDED2FBABFBE58A30\
    FAFABE1C5D71A87E2F741EF8C1FE86FEA6BBFDE530677F0D97D11D49F7A8443D0822E506A9F4614E011E2A94838FF88C\
    D68C8BB7C5C6424CFFFFFFFFFFFFFFFF";

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7919 appendix A: p = 2^b - 2^(b-64) + ([2^(b-130) e] + X) 2^64 - 1.
    #[test]
    fn the_groups_are_those_of_the_formula() {
        let cases = [
            (Group::Ffdhe2048, 2048, 560_316_u64),
            (Group::Ffdhe3072, 3072, 2_625_351),
            (Group::Ffdhe4096, 4096, 5_736_041),
            (Group::Ffdhe6144, 6144, 15_705_020),
            (Group::Ffdhe8192, 8192, 10_965_728),
        ];
        for (group, bits, x) in cases {
            let limbs = bits / 32;
            // e as the sum of 1/k!, scaled by 2^(b-66): its last 64 bits take up what rounding loses.
            let mut term = vec![0_u32; limbs];
            term[(bits - 66) / 32] = 1 << ((bits - 66) % 32);
            let mut number = vec![0_u32; limbs];
            for k in 1.. {
                add(&mut number, &term);
                let mut rest = 0_u64;
                for limb in term.iter_mut().rev() {
                    rest = (rest << 32) | u64::from(*limb);
                    *limb = u32::try_from(rest / k).unwrap();
                    rest %= k;
                }
                if term.iter().all(|limb| *limb == 0) {
                    break;
                }
            }
            add(&mut number[2..], &[u32::try_from(x - 1).unwrap()]);
            number[..2].fill(u32::MAX);
            number[limbs - 2..].fill(u32::MAX);
            let prime: Vec<u8> = number.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
            assert_eq!(group.parameters().prime, prime, "{group}");
            assert_eq!(group.parameters().bits(), bits, "{group}");
        }
    }

    /// Least significant limb first.
    fn add(to: &mut [u32], what: &[u32]) {
        let mut carry = 0;
        for (at, limb) in to.iter_mut().enumerate() {
            let sum = u64::from(*limb) + u64::from(what.get(at).copied().unwrap_or(0)) + carry;
            *limb = u32::try_from(sum & u64::from(u32::MAX)).unwrap();
            carry = sum >> 32;
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for group in Group::ALL {
            let text = group.parameters().to_pem().unwrap();
            let again = Parameters::from_der(pem::parse(&text).unwrap().contents()).unwrap();
            assert_eq!(again.group(), Some(group));
            assert_eq!(Group::parse(group.name()), Some(group));
            assert_eq!((again.bits().to_string(), again.generator()), (group.name()[5..].into(), Some(2)));
            assert!(openssl_accepts(&text), "{group}");
        }
    }

    #[test]
    fn a_group_of_ones_own_is_one() {
        let made = Parameters::generate(512).unwrap();
        assert_eq!((made.bits(), made.generator(), made.group()), (512, Some(2), None));
        assert!(openssl_accepts(&made.to_pem().unwrap()));
        assert!(Parameters::generate(2).is_err());
    }

    #[test]
    fn junk_is_refused() {
        for (case, der) in [
            ("nothing", &b""[..]),
            ("an empty sequence", b"\x30\x00"),
            ("one number", b"\x30\x03\x02\x01\x05"),
            ("a negative number", b"\x30\x06\x02\x01\xff\x02\x01\x02"),
            ("text", b"hello"),
        ] {
            assert!(Parameters::from_der(der).is_err(), "{case}");
        }
    }

    /// By `openssl dhparam -check`; without OpenSSL there is nothing that could object.
    fn openssl_accepts(text: &str) -> bool {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let openssl = Command::new("openssl")
            .args(["dhparam", "-check", "-noout"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut openssl) = openssl else { return true };
        openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = openssl.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        done.status.success() && said.contains("appear to be ok")
    }
}
