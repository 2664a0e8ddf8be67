"""The ledger against a model of it: a long random walk, compared after every batch; then many
sessions at once with the invariants looked at all the time."""
import dataclasses
import random
import threading
import time

import psycopg2
import psycopg2.extras
import pytest

HOUR = 3600
SEED = 20261121
OPERATIONS = 20000
SCOPES = ("transformation", "generation", "any")

# Runs one operation as its own subtransaction, so that a batch of them is one round trip.
TRY = """
CREATE FUNCTION attempt(what text, offset_us bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('pixshift.clock_offset', offset_us::text, false);
    EXECUTE what INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$"""


@dataclasses.dataclass
class Grant:
    kind: str
    scope: str
    amount: int
    remaining: int
    expires: float          # hours since the walk began; inf = never
    number: int = 0         # order of creation
    held: int = 0

    @property
    def free(self):
        return self.remaining - self.held


@dataclasses.dataclass
class Hold:
    user: "Wallet"
    amount: int
    scope: str
    lines: list
    state: str = "pending"
    captured: int = 0
    refunded: int = 0


class Refused(Exception):
    pass


class Wallet:
    """The rules as docs/internals/credit.md tells them, in the plainest form."""

    def __init__(self, uuid, daily):
        self.uuid, self.daily = uuid, daily
        self.grants, self.used, self.entries, self.day = [], 0, 0, None
        self.open = []      # grants with something left, for speed alone

    posted = property(lambda self: sum(g.remaining for g in self.grants))
    held = property(lambda self: sum(g.held for g in self.grants))

    def keep(self, grant):
        grant.number = len(self.grants)
        self.grants.append(grant)
        self.open.append(grant)

    def add(self, *args):
        self.keep(Grant(*args))
        self.entries += 1

    def expire(self, now):
        total = 0
        self.open = [g for g in self.open if g.remaining]
        for grant in self.open:
            if grant.expires <= now and grant.free:
                total += grant.free
                grant.remaining = grant.held
                self.entries += 1
        return total

    def new_day(self, now):
        self.expire(now)
        today = int(now // 24)
        if self.day is not None and self.day >= today:
            return False
        self.day = today
        self.add("daily_free", "any", self.daily, self.daily, (today + 1) * 24)
        return True

    def hold(self, amount, scope, now):
        """The daily grant made on the way is undone with a refused hold."""
        if self.day is None or self.day < int(now // 24):
            daily = [Grant("daily_free", "any", self.daily, self.daily, (int(now // 24) + 1) * 24,
                           len(self.grants))]
        else:
            daily = []
        fitting = [g for g in self.open + daily if g.free and g.scope in (scope, "any")]
        usable = sorted((g for g in fitting if g.expires > now),
                        key=lambda g: (g.scope == "any", g.expires, g.number))
        if sum(g.free for g in usable) < amount:
            raise Refused("PX402")
        if daily:
            self.expire(now)
            self.day = int(now // 24)
            self.keep(daily[0])
            self.entries += 1
        elif any(g.expires <= now for g in fitting):
            self.expire(now)
        lines = []
        for grant in usable:
            part = min(amount, grant.free)
            if part:
                grant.held += part
                amount -= part
                lines.append((grant, part))
        return lines

    def settle(self, hold, take, now):
        if hold.state != "pending":
            if (take is None and hold.state == "released") or \
                    (take is not None and hold.state == "captured" and take == hold.captured):
                return False
            raise Refused("PX422" if take is not None and take > hold.amount else "PX409")
        if take is not None and take > hold.amount:
            raise Refused("PX422")
        hold.state, hold.captured = ("released", 0) if take is None else ("captured", take)
        left = take or 0
        self.used += left
        self.entries += left > 0
        for grant, amount in hold.lines:
            part = min(left, amount)
            left -= part
            grant.held -= amount
            grant.remaining -= part
            if part < amount and grant.expires <= now:
                grant.remaining -= amount - part
                self.entries += 1
        return True

    def refund(self, hold, amount, now):
        if hold.refunded + amount > hold.captured:
            raise Refused("PX409")
        high, start = hold.captured - hold.refunded, sum(a for _, a in hold.lines)
        hold.refunded += amount
        low = high - amount
        for grant, size in reversed(hold.lines):
            start -= size
            back = min(high, start + size) - max(low, start)
            if back <= 0:
                continue
            if grant.expires <= now:
                self.keep(Grant("refund", grant.scope, back, back, float("inf")))
            else:
                if not grant.remaining:
                    self.open = [g for g in self.open if g is not grant] + [grant]
                grant.remaining += back
        self.used -= amount
        self.entries += 1
        return True


class Walk:
    """Draws operations, tells what each must answer, and writes the SQL for it."""

    def __init__(self, users, start):
        self.random = random.Random(SEED)
        self.wallets = [Wallet(u, 3) for u in users]
        self.start = start              # epoch seconds of hour 0, at a UTC midnight
        self.hour = 0.25                # never near an hour's edge: real time passes meanwhile
        self.holds, self.keys, self.refunds, self.count = [], [], {}, 0

    def when(self, hours):
        return "to_timestamp(%d)" % (self.start + hours * HOUR)

    def step(self):
        """(sql, expected answer)"""
        self.count += 1
        draw = self.random.random()
        if draw < 0.02:
            self.hour += self.random.choice([1, 2, 5, 9])
        wallet = self.random.choice(self.wallets)
        for limit, act in ((0.12, self.grant), (0.52, self.hold), (0.82, self.settle),
                           (0.94, self.refund), (0.97, self.daily), (1.0, self.replay)):
            if draw < limit:
                try:
                    sql, answer = act(wallet)
                except Refused as refused:
                    return refused.args[1], refused.args[0]
                return sql, answer

    def grant(self, wallet):
        amount = self.random.randint(1, 12)
        kind = self.random.choice(["purchase", "promo", "admin", "subscription", "lifetime_free"])
        if kind == "lifetime_free" and any(g.kind == kind for g in wallet.grants):
            kind = "purchase"
        scope = self.random.choice(SCOPES)
        hours = self.random.choice([None, None, 1, 6, 30, 100])
        expires = float("inf") if hours is None else int(self.hour) + hours + 0.75
        wallet.add(kind, scope, amount, amount, expires)
        sql = "SELECT pixshift.credit_grant('%s', '%s', %d, '%s', %s, 'g%d', NULL, NULL, NULL) IS NOT NULL" % (
            wallet.uuid, kind, amount, scope, "NULL" if hours is None else self.when(expires), self.count)
        return sql, "true"

    def hold(self, wallet):
        amount, scope = self.random.choice([0, 1, 1, 1, 2, 3, 7, 20]), self.random.choice(SCOPES)
        sql = "SELECT pixshift.credit_hold('%s', %d, '%s', 'h%d') IS NOT NULL" % (
            wallet.uuid, amount, scope, self.count)
        try:
            lines = wallet.hold(amount, scope, self.hour)
        except Refused as refused:
            raise Refused(refused.args[0], sql) from refused
        self.holds.append((self.count, Hold(wallet, amount, scope, lines)))
        return sql, "true"

    def pick(self):
        """A hold: mostly a recent one, which is likely to be pending."""
        if not self.holds:
            return None
        recent = self.holds[-12:] if self.random.random() < 0.8 else self.holds
        return self.random.choice(recent)

    def settle(self, wallet):
        picked = self.pick()
        if not picked:
            return self.daily(wallet)
        number, hold = picked
        take = self.random.choice([None, 0, 1, hold.amount, hold.amount, hold.amount + 1])
        ref = "(SELECT id FROM pixshift.holds WHERE key = 'h%d')" % number
        sql = ("SELECT pixshift.credit_release(%s, 'x')" % ref if take is None else
               "SELECT pixshift.credit_capture(%s, %d, 'job', 'j%d')" % (ref, take, number))
        try:
            return sql, "true" if hold.user.settle(hold, take, self.hour) else "false"
        except Refused as refused:
            raise Refused(refused.args[0], sql) from refused

    def refund(self, wallet):
        picked = self.pick()
        if not picked:
            return self.daily(wallet)
        number, hold = picked
        amount = self.random.randint(1, 3)
        sql = "SELECT pixshift.credit_refund((SELECT id FROM pixshift.holds WHERE key = 'h%d'), %d, 'r%d', '')" % (
            number, amount, self.count)
        try:
            hold.user.refund(hold, amount, self.hour)
        except Refused as refused:
            raise Refused(refused.args[0], sql) from refused
        self.keys.append(sql)
        return sql, "true"

    def daily(self, wallet):
        sql = "SELECT pixshift.credit_daily('%s')" % wallet.uuid
        return sql, "true" if wallet.new_day(self.hour) else "false"

    def replay(self, wallet):
        """A refund's key once more changes nothing."""
        if not self.keys:
            return self.daily(wallet)
        return self.random.choice(self.keys), "false"


def books(db, wallet):
    """What the database says in the model's terms."""
    posted, held, used, seq = db.rows("SELECT posted, held, total_used, last_seq FROM pixshift.audit_balance"
                                      " WHERE user_id = %s", wallet.uuid)[0]
    grants = db.rows("SELECT kind, scope, amount::int, remaining::int, held::int FROM pixshift.grants"
                     " WHERE user_id = %s", wallet.uuid)
    return posted, held, used, seq, sorted(grants)


def model(wallet):
    grants = sorted((g.kind, g.scope, g.amount, g.remaining, g.held) for g in wallet.grants)
    return wallet.posted, wallet.held, wallet.used, wallet.entries, grants


def test_random_walk(db):
    """20,000 operations of six users over months agree with the model in every answer and balance."""
    db.rows(TRY)
    users = [db.user() for _ in range(6)]
    db.rows("UPDATE pixshift.credit_profile SET daily_free = 3")
    db.rows("UPDATE pixshift.wallets SET daily_on = NULL")
    start = (int(time.time()) // 86400 + 2) * 86400
    walk = Walk(users, start)
    began = time.time()
    done = 0
    while done < OPERATIONS:
        batch, offsets = [], []
        for _ in range(25):
            batch.append(walk.step())
            offsets.append(int((start + walk.hour * HOUR - began) * 1000000))
        answers = db.rows("SELECT attempt(sql, at) FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY"
                          " AS t (sql, at, n) ORDER BY n", [b[0] for b in batch], offsets)
        for (sql, wanted), (answer,) in zip(batch, answers):
            assert answer == wanted, (done, sql)
            done += 1
        for wallet in walk.wallets if done % 500 == 0 else ():
            assert books(db, wallet) == model(wallet), done
    assert db.violations() == []
    states = dict(db.rows("SELECT state, count(*) FROM pixshift.audit_hold GROUP BY state"))
    assert states["captured"] > 1000 and states["released"] > 500
    assert db.one("SELECT count(*) FROM pixshift.audit_ledger WHERE kind = 'expire'") > 50
    assert db.one("SELECT count(*) FROM pixshift.grants WHERE kind = 'refund'") > 5


class Busy(threading.Thread):
    """One session that holds, settles in batches, refunds and buys on shared users."""

    def __init__(self, db, users, number, until):
        super().__init__()
        self.db, self.users, self.until = db, users, until
        self.random = random.Random(SEED + number)
        self.bought = self.captured = self.refunded = self.refused = 0
        self.error = None

    def run(self):
        connection = self.db.connect()
        try:
            while time.monotonic() < self.until:
                self.turn(connection)
        except Exception as error:          # pylint: disable=broad-except
            self.error = error
        connection.close()

    def turn(self, connection):
        holds = []
        for user in self.random.sample(self.users, 3):
            try:
                holds.append(self.db.hold(user, self.random.randint(0, 3), on=connection))
            except psycopg2.Error as error:
                if error.pgcode != "PX402":
                    raise
                self.refused += 1
                self.bought += 5
                self.db.rows("SELECT pixshift.credit_grant(%s, 'purchase', 5, 'any', NULL,"
                             " gen_random_uuid()::text, NULL, NULL, NULL)", user, on=connection)
        sizes = dict(self.db.rows("SELECT id, amount FROM pixshift.holds WHERE id = ANY (%s::uuid[])", holds,
                                  on=connection))
        takes = [self.random.choice([None, sizes[h], sizes[h]]) for h in holds]
        self.db.rows("SELECT pixshift.credit_settle_batch(%s::uuid[], %s::bigint[], %s::text[])", holds, takes,
                     ["job"] * len(holds), on=connection)
        self.captured += sum(t or 0 for t in takes)
        for hold, take in zip(holds, takes):
            if take and self.random.random() < 0.2:
                self.db.rows("SELECT pixshift.credit_refund(%s, 1, gen_random_uuid()::text, NULL)", hold,
                             on=connection)
                self.refunded += 1


@pytest.mark.parametrize("sessions", [12])
def test_many_sessions(db, sessions):
    """The invariants hold at every sample while twelve sessions work on five users."""
    users = [db.user() for _ in range(5)]
    for user in users:
        db.give(user, 10)
    until = time.monotonic() + 4
    threads = [Busy(db, users, n, until) for n in range(sessions)]
    for thread in threads:
        thread.start()
    samples = 0
    while time.monotonic() < until:
        assert db.violations() == []
        samples += 1
    for thread in threads:
        thread.join()
    assert [t.error for t in threads if t.error] == []
    wallets = [db.wallet(user) for user in users]
    assert sum(w[1] for w in wallets) == 0
    bought = 50 + sum(t.bought for t in threads)
    captured, refunded = sum(t.captured for t in threads), sum(t.refunded for t in threads)
    assert sum(w[0] for w in wallets) == bought - captured + refunded
    assert sum(w[2] for w in wallets) == captured - refunded
    assert samples >= 3 and captured > 100 and sum(t.refused for t in threads) > 0
