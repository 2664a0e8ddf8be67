"""Every migration of sql/ goes up, down and up again, and leaves nothing behind."""
import glob
import os
import re

from pg import ROOT

OBJECTS = """
SELECT count(*) FROM pg_namespace n
  LEFT JOIN pg_class c ON c.relnamespace = n.oid LEFT JOIN pg_proc p ON p.pronamespace = n.oid
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND coalesce(c.oid, p.oid) IS NOT NULL
"""


def files(end):
    found = sorted(glob.glob(os.path.join(ROOT, "sql", "*" + end)))
    return {int(re.match(r"(\d+)_", os.path.basename(f)).group(1)): f for f in found}


def test_up_down_up(cluster):
    ups, downs = files(".up.sql"), files(".down.sql")
    assert sorted(ups) == sorted(downs)
    cluster.createdb("migrations")
    before = cluster.psql("migrations", OBJECTS)
    for _ in range(2):
        cluster.migrate("migrations")
        assert cluster.psql("migrations", "SELECT * FROM pixshift.ledger_verify()") == ""
        for version in sorted(downs, reverse=True):
            cluster.psql("migrations", file=downs[version])
        assert cluster.psql("migrations", OBJECTS) == before
        assert cluster.psql("migrations", "SELECT count(*) FROM pg_namespace WHERE nspname = 'pixshift'") == "0\n"
    cluster.dropdb("migrations")


def test_numbers_are_unique():
    names = [os.path.basename(f) for f in glob.glob(os.path.join(ROOT, "sql", "*.up.sql"))]
    numbers = [n.split("_")[0] for n in names]
    assert len(numbers) == len(set(numbers))
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.up\.sql", n) for n in names)


def test_all_are_installed():
    with open(os.path.join(ROOT, "sql", "sources.am"), encoding="utf-8") as listed:
        text = listed.read()
    missing = [f for f in glob.glob(os.path.join(ROOT, "sql", "*.sql"))
               if "sql/" + os.path.basename(f) not in text]
    assert not missing
