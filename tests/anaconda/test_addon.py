"""The Anaconda add-on: its section read by pykickstart's parser, and its task on a scratch directory.

Run by tests/examples.rs with the Python of target/validators; by hand:
`target/validators/bin/python -B -m unittest discover -s tests/anaconda`
"""

import runpy
import sys
import tempfile
import unittest
from pathlib import Path

import stand_ins

HERE = Path(__file__).resolve().parent
SEED = HERE.parent.parent / "seed"
sys.path.insert(0, str(SEED / "anaconda"))
stand_ins.import_all()

from org_reseed.service import installation, kickstart, reseed  # noqa: E402
from pykickstart.errors import KickstartParseError  # noqa: E402


def section(body, options=""):
    return f"text\n%addon org_reseed{options}\n{body}%end\nreboot\n"


def read(text):
    return stand_ins.parse(text, kickstart.ReseedSpecification).addons.org_reseed


class Sections(unittest.TestCase):
    def test_the_shipped_file(self):
        data = read((SEED / "kickstart" / "addon.ks").read_text())
        self.assertTrue(data.seen and data.apply)
        self.assertIn('organizational_unit = "Web"\n', data.seed)

    def test_good_ones(self):
        for name, body, options in [
            ("empty", "", ""),
            ("only a subject", '[subject]\ncountry = "US"\n', ""),
            ("a comment and a blank line stay", '# ours\n\n[subject]\nstate = "Utah"\n', " --apply"),
            ("a percent sign in a value", '[subject]\norganization = "100% Example"\n', ""),
            ("not ASCII", '[subject]\norganization = "Exämple"\n', ""),
        ]:
            with self.subTest(name):
                data = read(section(body, options))
                self.assertEqual((data.seen, data.apply, data.seed), (True, bool(options), body))
                again = read(f"text\n{data}reboot\n")
                self.assertEqual((again.apply, again.seed), (data.apply, data.seed), "written back")

    def test_without_a_section_there_is_nothing(self):
        data = read("text\nreboot\n")
        self.assertEqual((data.seen, str(data)), (False, ""))

    def test_bad_ones(self):
        for name, text, words in [
            ("an option", section("", " --now"), "--now"),
            ("not TOML", section("[subject]\ncountry = US\n"), "not TOML"),
            ("a field", section('[subject]\ncompany = "X"\n'), "no field company"),
            ("a key", section("[certificates]\ndays = 1\n"), "no such key: certificates"),
            ("a country", section('[subject]\ncountry = "us"\n'), "two capital letters"),
            ("a number", section("[subject]\nstate = 1\n"), "state is to be a text"),
            ("too long", section(f'[subject]\norganization = "{"x" * 65}"\n'), "64 characters"),
            ("a version", section("version = 2\n"), "version 1"),
            ("no table", section("subject = 1\n"), "table"),
            ("two", section("") + section(""), "second section"),
        ]:
            with self.subTest(name):
                with self.assertRaises(KickstartParseError) as raised:
                    read(text)
                self.assertIn(words, str(raised.exception))

    def test_the_line_is_told(self):
        with self.assertRaises(KickstartParseError) as raised:
            read("text\n\n" + section('[subject]\ncountry = "us"\n'))
        self.assertIn("5", str(raised.exception))

    def test_without_a_toml_reader_it_is_taken_as_it_is(self):
        reader, kickstart.tomllib = kickstart.tomllib, None
        self.addCleanup(setattr, kickstart, "tomllib", reader)
        self.assertEqual(read(section("country = US\n")).seed, "country = US\n")


class Service(unittest.TestCase):
    def test_the_section_goes_through(self):
        service = reseed.Reseed()
        self.assertEqual(service.install_with_tasks(), [], "nothing without a section")
        handler = stand_ins.parse(section("version = 1\n", " --apply"), service.kickstart_specification)
        service.process_kickstart(handler)
        (task,) = service.install_with_tasks()
        self.assertTrue(task.name)
        empty = stand_ins.parse("text\n", service.kickstart_specification)
        service.setup_kickstart(empty)
        self.assertIn("%addon org_reseed --apply\nversion = 1\n%end\n", str(empty.addons.org_reseed))

    def test_its_name_on_the_bus_is_that_of_the_data_files(self):
        runpy.run_module("org_reseed.service", run_name="__main__")
        reseed.Reseed().publish()
        name = reseed.RESEED.service_name
        for file in (SEED / "anaconda" / "data").iterdir():
            self.assertIn(name, file.read_text())
            self.assertTrue(file.name.startswith(name))


class Installing(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)
        stand_ins.ran.clear()
        stand_ins.status = 0

    def install(self, apply):
        installation.SeedTask(str(self.root), "version = 1\n", apply).run()
        return self.root / "etc/reseed/seed.toml"

    def program(self):
        path = self.root / "usr/sbin/reseed"
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
        return str(path)

    def test_the_seed_is_written(self):
        seed = self.install(apply=False)
        self.assertEqual((seed.read_text(), seed.stat().st_mode & 0o777), ("version = 1\n", 0o644))
        self.assertEqual([file.name for file in seed.parent.iterdir()], ["seed.toml"])
        self.assertEqual(stand_ins.ran, [])

    def test_an_old_one_is_replaced(self):
        self.install(apply=False)
        self.assertEqual(self.install(apply=False).read_text(), "version = 1\n")

    def test_the_new_system_is_put_right_from_outside(self):
        program = self.program()
        self.install(apply=True)
        self.assertEqual(stand_ins.ran, [[program, "--root", str(self.root), "apply"]])

    def test_what_fails_there_stops_nothing(self):
        with self.assertLogs(installation.log, "WARNING") as log:
            self.install(apply=True)
            self.program()
            stand_ins.status = 1
            self.install(apply=True)
        self.assertIn("not installed", log.output[0])
        self.assertIn("status 1", log.output[1])


if __name__ == "__main__":
    unittest.main()
