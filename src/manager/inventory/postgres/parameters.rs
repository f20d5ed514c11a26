//! Parameters of a connection, as users of libpq expect them: a URL or `keyword=value` text, a service of
//! `pg_service.conf`, `PG…` variables, defaults; in this order of precedence.

use std::collections::BTreeMap;

/// Names and values, by the names that libpq uses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |(name, value): (&String, &String)| match name.as_str() {
            "password" | "sslpassword" => (name.clone(), "…".to_owned()),
            _ => (name.clone(), value.clone()),
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}

/// Variables of the environment, and the parameter that each gives.
pub const VARIABLES: [(&str, &str); 20] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSERVICE", "service"),
    ("PGSERVICEFILE", "servicefile"),
    ("PGSYSCONFDIR", "sysconfdir"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];

/// What may stand in a text, besides the parameters of [`VARIABLES`].
const OTHERS: [&str; 6] = [
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "fallback_application_name",
];

impl Parameters {
    /// Reads a URL or `keyword=value` text.
    ///
    /// # Errors
    /// In words; never with a value that could be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
        let parsed = match rest {
            Some(rest) => url(rest)?,
            None => keywords(text)?,
        };
        match parsed.0.keys().find(|name| !is_known(name)) {
            Some(name) => Err(format!("\"{}\" is no parameter of a connection", name.escape_debug())),
            None => Ok(parsed),
        }
    }

    /// What the environment says, by [`VARIABLES`]; empty ones say nothing.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |(name, parameter): &(&str, &str)| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some(((*parameter).to_owned(), value))
        };
        Self(VARIABLES.iter().filter_map(given).collect())
    }

    /// Reads one service of a service file; nothing when it is not in there.
    ///
    /// # Errors
    /// In words, with the line.
    pub fn of_service(text: &str, service: &str) -> Result<Option<Self>, String> {
        let mut found: Option<Self> = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                if found.is_some() {
                    break;
                }
                if name == service {
                    found = Some(Self::default());
                }
                continue;
            }
            let Some(found) = &mut found else { continue };
            let (name, value) =
                line.split_once('=').ok_or_else(|| format!("line {}: not keyword=value", number + 1))?;
            if !is_known(name.trim()) || name.trim() == "service" {
                return Err(format!(
                    "line {}: \"{}\" is no parameter of a connection",
                    number + 1,
                    name.trim()
                ));
            }
            found.0.entry(name.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
        }
        Ok(found)
    }

    /// Takes over what is not said here.
    pub fn or(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// A parameter; nothing when it is empty, as in libpq.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a parameter.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Hosts with their ports, in order; the first that answers is taken.
    ///
    /// # Errors
    /// In words.
    pub fn hosts(&self) -> Result<Vec<(String, u16)>, String> {
        let list = |name| self.get(name).map(|value| value.split(',').map(str::trim).collect::<Vec<_>>());
        let hosts = list("host").or_else(|| list("hostaddr")).unwrap_or_else(|| vec![SOCKETS]);
        let ports = list("port").unwrap_or_default();
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err(format!("{} ports for {} hosts", ports.len(), hosts.len()));
        }
        let port = |at: usize| match ports.get(at).or(ports.first()).copied().unwrap_or_default() {
            "" => Ok(5432),
            text => text.parse().map_err(|_| format!("\"{}\" is no port", text.escape_debug())),
        };
        let host = |host: &str| if host.is_empty() { SOCKETS.to_owned() } else { host.to_owned() };
        hosts.iter().enumerate().map(|(at, name)| Ok((host(name), port(at)?))).collect()
    }

    /// Database, hosts and user, for people.
    pub fn shown(&self) -> String {
        let hosts = match self.hosts() {
            Ok(hosts) => {
                hosts.into_iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
            }
            Err(error) => error,
        };
        let [database, user] = ["dbname", "user"].map(|name| self.get(name).unwrap_or("?"));
        format!("database {database} at {hosts} as {user}")
    }
}

/// Where Debian's and Fedora's servers listen.
const SOCKETS: &str = "/var/run/postgresql";

fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|(_, known)| *known == name) || OTHERS.contains(&name)
}

/// `user:password@host:port,host:port/database?name=value&…` (RFC 3986 with several hosts, as libpq reads it).
fn url(text: &str) -> Result<Parameters, String> {
    let mut found = Parameters::default();
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (user, hosts),
        None => ("", authority),
    };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':').unwrap_or_default()),
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decoded(name)?);
        ports.push(decoded(port)?);
    }
    let mut give = |name: &str, value: String| {
        if !value.trim_matches(',').is_empty() {
            found.set(name, value);
        }
    };
    give("user", decoded(user)?);
    give("password", decoded(password)?);
    give("host", names.join(","));
    give("port", ports.join(","));
    give("dbname", decoded(database)?);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("the query of the URL is not name=value")?;
        let name = decoded(name)?;
        if name == "ssl" && value == "true" {
            found.set("sslmode", "require");
        } else {
            found.set(&name, decoded(value)?);
        }
    }
    Ok(found)
}

fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "the URL has a % that is not followed by two hexadecimal digits".to_owned();
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let mut digit = || rest.next().and_then(|octet| char::from(octet).to_digit(16)).ok_or_else(wrong);
        let value = digit()? * 16 + digit()?;
        octets.push(u8::try_from(value).map_err(|_| wrong())?);
    }
    String::from_utf8(octets).map_err(|_| "the URL is not UTF-8".to_owned())
}

/// `host = example user='a b' password=it\'s`.
fn keywords(text: &str) -> Result<Parameters, String> {
    let mut found = Parameters::default();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(found);
        }
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_whitespace() && *c != '=') {
            name.push(c);
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.next() != Some('=') {
            return Err(format!("\"=\" is missing after \"{}\"", name.escape_debug()));
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = rest.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match rest.next() {
                Some('\\') => value.extend(rest.next()),
                Some('\'') if quoted => break,
                Some(c) if quoted || !c.is_whitespace() => value.push(c),
                Some(_) => break,
                None if quoted => return Err(format!("the value of \"{name}\" has no \"'\" at its end")),
                None => break,
            }
        }
        found.set(&name, value);
    }
}

/// The password of the first line of a `.pgpass` that fits.
pub fn password(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
    // A socket's directory is called localhost there, where it is the usual one.
    let host = if host == SOCKETS { "localhost" } else { host };
    let port = port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [a, b, c, d, password] = fields.as_slice() else { return None };
        let fits = [(a, host), (b, &port), (c, database), (d, user)];
        fits.iter().all(|(field, value)| *field == "*" || *field == value).then(|| password.clone())
    })
}

/// Fields between colons; a backslash takes what follows as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == ':' && fields.len() < 5 {
            fields.push(String::new());
        } else if let Some(field) = fields.last_mut() {
            field.extend(if c == '\\' { rest.next() } else { Some(c) });
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parameters: &Parameters) -> String {
        parameters.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("", ""),
            ("host=a user = b", "host=a user=b"),
            ("dbname='a b' password='it\\'s \\\\'", "dbname=a b password=it's \\"),
            ("postgresql://", ""),
            ("postgres://h", "host=h"),
            ("postgresql://u:p%40@h:5433/d", "dbname=d host=h password=p@ port=5433 user=u"),
            (
                "postgresql://[::1]:5433,b/d?sslmode=verify-full",
                "dbname=d host=::1,b port=5433, sslmode=verify-full",
            ),
            ("postgresql:///d?host=/run/x&ssl=true", "dbname=d host=/run/x sslmode=require"),
            ("postgresql://%2Frun%2Fpg/d", "dbname=d host=/run/pg"),
        ] {
            assert_eq!(list(&Parameters::parse(text).unwrap()), expected, "{text}");
        }
        for bad in ["host", "host='a", "hots=a", "postgres://h/d?x=1", "postgres://h%4", "postgres://h/d?x"] {
            assert!(Parameters::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn precedence_is_text_then_service_then_environment() {
        let file = "# ours\n[other]\nhost=x\n[ours]\nhost=s\ndbname = sdb\n[ours]\nuser=late\n";
        let mut found = Parameters::parse("service=ours user=t").unwrap();
        found.or(Parameters::of_service(file, "ours").unwrap().unwrap());
        let environment = [("PGHOST", "e"), ("PGPORT", "7"), ("PGDATABASE", "edb"), ("PGSSLMODE", "")];
        found.or(Parameters::of_environment(|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }));
        assert_eq!(list(&found), "dbname=sdb host=s port=7 service=ours user=t");
        assert_eq!(Parameters::of_service(file, "none").unwrap(), None);
        assert!(Parameters::of_service("[a]\nhots=x", "a").unwrap_err().contains("line 2"));
    }

    #[test]
    fn several_hosts() {
        let hosts = |text| Parameters::parse(text).unwrap().hosts();
        assert_eq!(hosts("host=a,b port=1,2").unwrap(), [("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(hosts("host=a,b port=1").unwrap(), [("a".into(), 1), ("b".into(), 1)]);
        assert_eq!(hosts("").unwrap(), [(SOCKETS.into(), 5432)]);
        assert!(hosts("host=a,b,c port=1,2").is_err());
        assert!(hosts("host=a port=x").is_err());
    }

    #[test]
    fn passwords() {
        let file = "# comment\nshort:line\nh:5432:d:u:first\n*:*:d\\:x:u:a\\:b:c\nlocalhost:*:*:*:local\n*:*:*:*:any\n";
        for (host, port, database, user, expected) in [
            ("h", 5432, "d", "u", "first"),
            ("h", 5432, "d:x", "u", "a:b:c"),
            (SOCKETS, 5432, "d", "v", "local"),
            ("h", 1, "d", "u", "any"),
        ] {
            assert_eq!(
                password(file, host, port, database, user).as_deref(),
                Some(expected),
                "{host} {database}"
            );
        }
        assert_eq!(password("h:1:d:u:p", "h", 1, "d", "other"), None);
    }

    #[test]
    fn no_password_is_shown() {
        let found = Parameters::parse("postgres://u:geheim@h/d").unwrap();
        assert!(!format!("{found:?} {}", found.shown()).contains("geheim"));
    }
}
