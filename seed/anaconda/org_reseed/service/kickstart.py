"""The section: `%addon org_reseed [--apply]`, then the text of /etc/reseed/seed.toml, then `%end`."""

try:
    import tomllib
except ImportError:  # before Python 3.11: the reseed of the new system will say what is wrong
    tomllib = None

from pyanaconda.core.kickstart import VERSION, KickstartSpecification
from pyanaconda.core.kickstart.addon import AddonData
from pykickstart.errors import KickstartParseError
from pykickstart.options import KSOptionParser

# The fields of the seed, and how long each may be (RFC 5280, appendix A.1).
FIELDS = {
    "country": 2,
    "state": 128,
    "locality": 128,
    "organization": 64,
    "organizational_unit": 64,
    "email": 128,
}


class ReseedData(AddonData):
    """What stands in the section."""

    def __init__(self):
        super().__init__()
        self.seen = False
        self.apply = False
        self.seed = ""
        self._first_line = None

    def handle_header(self, args, line_number=None):
        """Reads the options."""
        if self.seen:
            raise KickstartParseError("there is a second section %addon org_reseed", lineno=line_number)
        parser = KSOptionParser(
            prog="%addon org_reseed",
            version=VERSION,
            description="Write the seed of reseed, which holds the site's certificate subject fields.",
        )
        parser.add_argument(
            "--apply",
            action="store_true",
            default=False,
            version=VERSION,
            help="Put the new system right at the end of the installation, not at its first boot.",
        )
        options = parser.parse_args(args=args, lineno=line_number)
        self.seen = True
        self.apply = options.apply

    def handle_line(self, line, line_number=None):
        """Takes a line of the seed."""
        if self._first_line is None:
            self._first_line = line_number
        self.seed += line if line.endswith("\n") else line + "\n"

    def handle_end(self):
        """Checks the seed as a whole, so that a mistake is told before any disk is touched."""
        wrong = what_is_wrong(self.seed)
        if wrong:
            raise KickstartParseError(f"%addon org_reseed: {wrong}", lineno=self._first_line or 0)

    def __str__(self):
        """The section as it stands in a Kickstart file."""
        if not self.seen:
            return ""
        header = "%addon org_reseed --apply" if self.apply else "%addon org_reseed"
        return f"\n{header}\n{self.seed}%end\n"


class ReseedSpecification(KickstartSpecification):
    """What the service reads of a Kickstart file: this section and nothing else."""

    version = VERSION
    addons = {"org_reseed": ReseedData}


def what_is_wrong(text):
    """Says what is wrong with a seed, or nothing; lines count from the section's first."""
    if tomllib is None:
        return None
    try:
        seed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"the seed is not TOML: {error}"
    unknown = set(seed) - {"version", "subject"}
    if unknown:
        return f"the seed has no such key: {', '.join(sorted(unknown))}"
    if seed.get("version", 1) != 1:
        return "this add-on knows version 1 of the seed"
    subject = seed.get("subject", {})
    if not isinstance(subject, dict):
        return "the subject is to be a table: [subject]"
    for field, value in subject.items():
        if field not in FIELDS:
            return f"the subject has no field {field}; there are {', '.join(FIELDS)}"
        if not isinstance(value, str) or not 0 < len(value) <= FIELDS[field]:
            return f"{field} is to be a text of 1 to {FIELDS[field]} characters"
    country = subject.get("country", "US")
    if not (len(country) == 2 and country.isascii() and country.isupper()):
        return 'the country is two capital letters, such as "US"'
    return None
