"""The engine and the scheduler on fakes, with everything happening in any order."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from weakref import WeakKeyDictionary

import pytest
from engine_work import broken, idempotent, impatient, lead, limited, other, retried, sticky, timed
from engine_work import work as plain
from fakes import MS
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from machines import run_until_all
from rig import rigged

from tokengate_mp import OperationBlocked, TokenState

ADMITTED, COMPLETED = TokenState.ADMITTED, TokenState.COMPLETED
NAMES = ["work", "other", "limited", "retried"]
FUNCTIONS = {
    "plain": plain,
    "other": other,
    "heavy": plain.options(operation_type="heavy", weight="heavy"),
    "light": plain.options(operation_type="light", weight="light"),
    "sticky": sticky,
    "limited": limited,
    "timed": timed,
    "retried": retried,
    "impatient": impatient,
    "idempotent": idempotent,
    "lead": lead,
    "broken": broken,
}
INSIDE = [plain, limited, impatient, lead, timed]
RUN = st.sampled_from([True, True, True, False])
DURATIONS = st.sampled_from([1_000, MS, 40 * MS])

ran: Counter[str] = Counter()
"""How often each rule has run, over all examples."""


class Recipient:
    """A recipient of a batch, which is told of its outcome once."""

    def __init__(self):
        self.outcomes = []

    def set_result(self, result, /):
        self.outcomes.append(result)

    def set_exception(self, error, /):
        self.outcomes.append(error)

    def cancel(self):
        self.outcomes.append("cancelled")

    def cut(self, count, /):
        assert not self.outcomes


def needs_link(ready):
    """Let a rule run only if a link is such that something can be done to it."""
    return precondition(lambda self: any(ready(self, link) for link in self.links()))


def startable(self):
    """Give the cores that have no process, and are not given up."""
    return [core for core in self.cores if core not in self.rig.backend.links.keys() | self.gone]


class EngineMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()

    @initialize(
        cores=st.integers(1, 3),
        threads=st.sampled_from([1, 4]),
        routing=st.sampled_from(["strict", "work_conserving"]),
        limit=st.sampled_from([None, None, (3, False), (3, True)]),
        up=st.booleans(),
    )
    def start(self, cores, threads, routing, limit, up):
        recycled = {} if limit is None else {"max_tokens_per_core": limit[0], "exact": limit[1]}
        self.rig = self.stack.enter_context(
            rigged(cores, threads_per_core=threads, routing=routing, up=up, **recycled)
        )
        self.cores = range(1, cores + 1)
        self.control = self.rig.engine.control
        self.tokens = {}  # those of the parent, by number
        self.batches = {}  # the recipients of batches, by number
        self.inside = set()  # numbers of tokens made inside tokens
        self.members = set()  # those among them that are in a chain
        self.refs = {}  # by link: how often it refers to each nested token
        self.enrolled = {}  # by link and function: the enrolment
        self.leads = {}  # by number of a token in a chain: the lead
        self.ended = WeakKeyDictionary()  # the state of each token that has ended
        self.gone = set()  # cores that were given up
        self.behind = False  # whether anything has happened that the engine has not heard

    # ---- the machine's own words

    def links(self):
        """Links whose process can do something."""
        condemned = self.rig.backend.condemned
        return [link for link in self.rig.all_links() if link.ready and link not in condemned]

    def draw_link(self, data, ready):
        """Draw a link for which `ready` holds."""
        found = [link for link in self.links() if ready(self, link)]
        return data.draw(st.sampled_from(found))

    def draw_some(self, data, numbers):
        """Draw some of these, at least one."""
        return data.draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=4, unique=True))

    def token(self, number):
        """The token of a number, as the engine has it; None if it is known no more."""
        return self.tokens.get(number) or self.rig.nested._known.get(number)

    def done(self, name, *, run=True):
        """A rule has done its part."""
        ran[name] += 1
        self.behind = not run
        if run:
            self.rig.run()

    def running(self, link):
        """Numbers of tokens whose threads can do something: on top of which nothing runs."""
        below = set(link.on_top.values())
        return [n for n in (*link.running, *link.on_top) if n not in below]

    def finishable(self, link):
        """Numbers of tokens that can end, those not begun among them."""
        return [*link.unbegun, *self.running(link)]

    # ---- calls

    @rule(data=st.data(), kind=st.sampled_from(list(FUNCTIONS)), count=st.integers(1, 5), run=RUN)
    def call(self, data, kind, count, run):
        needs = []
        known = [number for number in self.tokens if number not in self.batches]
        if known and kind not in {"lead", "broken"}:
            needs = data.draw(st.lists(st.sampled_from(known), max_size=2))
        args = [self.tokens[number] for number in needs]
        for _ in range(count):
            try:
                token = FUNCTIONS[kind](7, *args)
            except OperationBlocked:
                self.done("refused", run=run)
                return
            self.tokens[token.number] = token
            if kind == "lead":
                self.leads[token.number] = token.number
        self.done("call with dependencies" if args else f"call {kind}", run=run)

    @rule(run=RUN)
    def call_batch(self, run):
        recipient = Recipient()
        token = self.rig.forward(plain, recipient)
        self.tokens[token.number] = token
        self.batches[token.number] = recipient
        self.done("batch", run=run)

    # ---- what cores do

    @needs_link(lambda _self, link: link.unbegun)
    @rule(data=st.data())
    def begin(self, data):
        link = self.draw_link(data, lambda _, link: link.unbegun)
        for number in self.draw_some(data, list(link.unbegun)):
            link.begin(number)
        self.done("begin")

    @needs_link(lambda self, link: self.finishable(link))
    @rule(data=st.data(), ns=DURATIONS, pickled=st.booleans(), blocked=st.booleans(), run=RUN)
    def finish(self, data, ns, pickled, blocked, run):
        link = self.draw_link(data, EngineMachine.finishable)
        expected, heard = {}, not self.behind
        for number in self.draw_some(data, self.finishable(link)):
            token = self.token(number)
            value = [number] if pickled else number
            # (What was not heard may be that nobody waits for it any more, and ends it first.)
            if heard and token is not None and token.stage is ADMITTED:
                expected[number] = token, value
            link.finish(number, value, ns, blocked=blocked)
        self.done("finish", run=run)
        for number, (token, value) in expected.items() if run else ():
            assert token.stage is COMPLETED, token
            if number in self.batches:
                assert self.batches[number].outcomes == [value]
            elif number in self.tokens:
                assert token.result() == value

    @needs_link(lambda self, link: self.finishable(link))
    @rule(data=st.data(), kind=st.sampled_from([ValueError, KeyError]), run=RUN)
    def fail(self, data, kind, run):
        link = self.draw_link(data, EngineMachine.finishable)
        for number in self.draw_some(data, self.finishable(link)):
            link.fail(number, kind("failed"))
        self.done("fail", run=run)

    def droppable(self, link):
        """Numbers of tokens that were interrupted, and on top of which nothing runs."""
        return [n for n in self.finishable(link) if n in link.interrupted]

    @needs_link(lambda self, link: self.droppable(link))
    @rule(data=st.data(), run=RUN)
    def drop(self, data, run):
        link = self.draw_link(data, EngineMachine.droppable)
        link.drop(*self.draw_some(data, self.droppable(link)))
        self.done("drop", run=run)

    def returnable(self, link):
        """Numbers of tokens that the link was asked for, and has not begun."""
        return [n for n in link.unbegun if link.recalls and n not in self.members]

    @needs_link(lambda self, link: self.returnable(link))
    @rule(data=st.data(), run=RUN)
    def give_back(self, data, run):
        link = self.draw_link(data, EngineMachine.returnable)
        link.give_back(*self.draw_some(data, self.returnable(link)))
        link.recalls = 0
        self.done("give back", run=run)

    def cuttable(self, link):
        """Numbers of batches that are held."""
        return [number for number in (*link.unbegun, *link.running) if number in self.batches]

    @needs_link(lambda self, link: self.cuttable(link))
    @rule(data=st.data(), run=RUN)
    def cut(self, data, run):
        link = self.draw_link(data, EngineMachine.cuttable)
        link.cut(link.begin(data.draw(st.sampled_from(self.cuttable(link)))), 1)
        self.done("cut", run=run)

    @needs_link(lambda _self, link: link.running)
    @rule(data=st.data())
    def be_hungry(self, data):
        self.draw_link(data, lambda _, link: link.running).be_hungry()
        self.done("hungry")

    # ---- what tokens do inside

    def enrolment(self, link, function):
        """The enrolment of a function in a process."""
        key = link, function.operation_type
        if key not in self.enrolled:
            self.enrolled[key] = link.enrol(function)
        return self.enrolled[key]

    def refer(self, link, number):
        """A process refers to a nested token from now on."""
        self.inside.add(number)
        self.refs.setdefault(link, Counter())[number] += 1

    def referred(self, link):
        """Numbers of nested tokens that a process refers to."""
        return [number for number, times in self.refs.get(link, {}).items() if times]

    @needs_link(lambda self, link: self.finishable(link))
    @rule(
        data=st.data(),
        function=st.sampled_from(INSIDE),
        needing=st.booleans(),
        run=RUN,
        joined=st.booleans(),
    )
    def call_inside(self, data, function, needing, run, joined):
        link = self.draw_link(data, EngineMachine.finishable)
        self.make_inside(
            data,
            link,
            link.begin(data.draw(st.sampled_from(self.finishable(link)))),
            function,
            needing=needing,
            joined=joined,
            run=run,
        )

    @precondition(lambda self: self.links())
    @rule(data=st.data(), count=st.integers(1, 3), joined=st.booleans())
    def open_chain(self, data, count, joined):
        token = lead(7)
        self.tokens[token.number] = token
        self.leads[token.number] = token.number
        self.done("call lead")
        if token.stage is ADMITTED and (link := self.rig.holder(token)) in self.links():
            link.begin(token)
            within = token.number
            for _ in range(count):
                number = self.make_inside(data, link, within, plain, joined=joined)
                within = number if joined else within

    @needs_link(lambda self, link: self.finishable(link))
    @rule(data=st.data(), function=st.sampled_from(INSIDE), begun=st.booleans())
    def wait_inside(self, data, function, begun):
        link = self.draw_link(data, EngineMachine.finishable)
        within = link.begin(data.draw(st.sampled_from(self.finishable(link))))
        number = self.make_inside(data, link, within, function)
        if number not in link.on_top:
            link.claim(number, within=within)
            self.done("claim")
        if begun and number in link.unbegun:
            link.begin_on_top(number, below=within)
            self.done("on top")

    def make_inside(  # noqa: PLR0913 - as the call may be
        self, data, link, within, function, *, needing=False, joined=False, run=True
    ):
        """Make a call within a token that runs; its number."""
        enrolment = self.enrolment(link, function)
        known = self.referred(link)
        needs = self.draw_some(data, known)[:2] if needing and known else []
        chain = self.leads.get(within)
        if chain is None:
            number = link.call(enrolment, 7, needs=needs)
            self.refer(link, number)
            self.done("call inside", run=run)
        else:
            begun = within if joined and not needs else None
            number = link.link(enrolment, 7, lead=chain, begun=begun, needs=needs)
            self.members.add(number)
            self.leads[number] = chain
            self.refer(link, number)
            self.done("member", run=run)
        if function is lead:
            self.leads[number] = number
        return number

    def claims(self, link):
        """Pairs of a token that runs, and of one that it can wait for."""
        waiting = {number for number in self.referred(link) if number not in link.answers}
        waiting.difference_update(link.running, link.on_top)
        return [(within, number) for within in self.running(link) for number in waiting]

    @needs_link(lambda self, link: self.claims(link))
    @rule(data=st.data(), run=RUN, waiting=st.booleans())
    def claim(self, data, run, waiting):
        link = self.draw_link(data, EngineMachine.claims)
        within, number = data.draw(st.sampled_from(self.claims(link)))
        link.waiting = waiting
        link.claim(number, within=within)
        self.done("claim", run=run)

    def tops(self, link):
        """Pairs of a token that runs, and of one that its thread can run meanwhile."""
        return [(within, n) for within, n in self.claims(link) if n in link.unbegun]

    @needs_link(lambda self, link: self.tops(link))
    @rule(data=st.data(), run=RUN)
    def begin_on_top(self, data, run):
        link = self.draw_link(data, EngineMachine.tops)
        within, number = data.draw(st.sampled_from(self.tops(link)))
        link.begin_on_top(number, below=within)
        link.waiting = False
        self.done("on top", run=run)

    @needs_link(lambda self, link: self.referred(link))
    @rule(data=st.data(), maker_ended=st.booleans(), run=RUN)
    def forget(self, data, maker_ended, run):
        link = self.draw_link(data, EngineMachine.referred)
        numbers = self.draw_some(data, self.referred(link))
        link.forget_tokens(*numbers, maker_ended=maker_ended)
        self.refs[link].subtract(numbers)
        self.done("forget", run=run)

    @precondition(lambda self: self.inside and self.links())
    @rule(data=st.data(), run=RUN)
    def want(self, data, run):
        link = data.draw(st.sampled_from(self.links()))
        number = data.draw(st.sampled_from(sorted(self.inside)))
        link.want(number)
        self.refer(link, number)
        self.done("want", run=run)

    @needs_link(lambda self, link: self.referred(link) and self.finishable(link))
    @rule(data=st.data(), shown=st.booleans(), run=RUN)
    def finish_with_tokens(self, data, shown, run):
        link = self.draw_link(
            data, lambda self, link: self.referred(link) and self.finishable(link)
        )
        number = data.draw(st.sampled_from(self.finishable(link)))
        others = self.draw_some(data, self.referred(link))
        link.carry(number, *others)
        link.finish(number, [number])
        self.done("carry", run=run)
        if shown and run:
            for each in others:
                if self.token(each) is not None:
                    self.rig.nested.show(each)

    @needs_link(lambda self, link: self.referred(link))
    @rule(data=st.data(), run=RUN)
    def ask_kill(self, data, run):
        link = self.draw_link(data, EngineMachine.referred)
        link.ask_kill(data.draw(st.sampled_from(self.referred(link))))
        self.done("ask kill", run=run)

    # ---- what users do

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), cancelled=st.booleans(), run=RUN)
    def kill(self, data, cancelled, run):
        token = self.tokens[data.draw(st.sampled_from(list(self.tokens)))]
        before = token.stage
        if token.number in self.batches:
            self.rig.engine.withdraw(token)
            self.done("withdraw", run=run)
            return
        done = token.done()
        assert (token.cancel() if cancelled else token.kill()) is not done
        assert token.stage is (before if done else TokenState.KILLED)
        self.done("cancel" if cancelled else "kill", run=run)

    @rule(name=st.sampled_from(NAMES), drained=st.booleans())
    def kill_many(self, name, drained):
        if drained:
            self.control.drain(name, "drained")
        else:
            self.control.kill_all(name, "killed")
        self.done("drain" if drained else "kill all")

    @rule(paused=st.booleans(), name=st.sampled_from([None, *NAMES]))
    def pause(self, paused, name):
        if name is None:
            self.control.pause_admission(paused=paused)
        else:
            self.control.pause_operation(name, paused=paused)
        self.done("pause" if paused else "resume")

    @rule(seconds=st.sampled_from([0.001, 0.005, 0.3, 1.1, 2.5, 12.0]))
    def wait(self, seconds):
        self.rig.after(seconds)
        self.done("wait")

    # ---- what happens to cores

    @precondition(lambda self: any(not link.up for link in self.rig.all_links()))
    @rule(data=st.data(), run=RUN)
    def come_up(self, data, run):
        down = [link for link in self.rig.all_links() if not link.up]
        data.draw(st.sampled_from(down)).come_up()
        self.done("come up", run=run)

    @precondition(lambda self: self.rig.all_links())
    @rule(data=st.data(), restart=st.booleans(), unknown=st.booleans(), run=RUN)
    def lose(self, data, restart, unknown, run):
        link = data.draw(st.sampled_from(self.rig.all_links()))
        if unknown and link.unbegun:
            link.doubtful.update(self.draw_some(data, list(link.unbegun)))
        running = {*link.running, *link.on_top, *link.doubtful}
        self.exit(link, restart=restart)
        for number in running:
            token = self.token(number)
            assert token is None or token.stage is not ADMITTED or self.rig.holder(token) != link
        self.done("lose", run=run)

    def exit(self, link, *, restart=True):
        """A process ends."""
        self.rig.backend.exit(link, restart=restart)
        self.refs.pop(link, None)

    @precondition(lambda self: any(link.seat not in self.cores for link in self.links()))
    @rule(data=st.data(), run=RUN)
    def lose_relieved(self, data, run):
        link = self.draw_link(data, lambda self, link: link.seat not in self.cores)
        self.exit(link)
        self.done("lose a relieved", run=run)

    def running_calls(self, link):
        """Numbers of tokens of the parent that run, and have not ended."""
        calls = [n for n in self.running(link) if n in self.tokens and n not in self.batches]
        return [number for number in calls if self.tokens[number].stage is ADMITTED]

    @needs_link(lambda self, link: self.running_calls(link))
    @rule(data=st.data(), begun=st.booleans())
    def ignore_interruption(self, data, begun):
        link = self.draw_link(data, EngineMachine.running_calls)
        self.tokens[data.draw(st.sampled_from(self.running_calls(link)))].kill()
        self.rig.after(2.1)
        assert link in self.rig.backend.condemned
        self.done("condemned")
        if begun:
            self.exit(link)
            self.done("exit")

    @precondition(lambda self: self.rig.backend.condemned)
    @rule()
    def end_condemned(self):
        self.exit(self.rig.backend.condemned[0])
        self.done("condemned")

    @precondition(lambda self: self.rig.backend.dismissed)
    @rule()
    def end_dismissed(self):
        link = self.rig.backend.dismissed[0]
        assert not link.held
        self.exit(link)
        self.done("dismissed")

    @precondition(startable)
    @rule(data=st.data(), given_up=st.booleans())
    def start_or_give_up(self, data, given_up):
        core = data.draw(st.sampled_from(startable(self)))
        if given_up:
            self.gone.add(core)
            self.rig.backend.give_up(core, "a reason")
        else:
            self.rig.backend.start(core)
        self.done("give up" if given_up else "start")

    @precondition(lambda self: self.rig.backend.successors)
    @rule(data=st.data())
    def fail_to_replace(self, data):
        core = data.draw(st.sampled_from(sorted(self.rig.backend.successors)))
        assume(core in self.rig.backend.links)
        successor = self.rig.backend.successors[core]
        assume(not successor.ready)
        self.rig.backend.cannot_replace(core)
        self.done("irreplaceable")
        if core not in self.rig.backend.links:
            self.gone.add(core)

    @precondition(lambda self: self.links())
    @rule(data=st.data(), event=st.sampled_from(["drain", "suspect", "recover"]))
    def node(self, data, event):
        link = data.draw(st.sampled_from(self.links()))
        assume(link.seat in self.cores)
        getattr(self.rig.backend, event)(link)
        if event == "drain" and link.recalls and (numbers := self.returnable(link)):
            link.give_back(*numbers)
            self.done("give back all")
        self.done(event)

    # ---- what always holds

    @invariant()
    def accounts_add_up(self):
        rig = self.rig
        rig.scheduler.validate()
        fresh = [t for t in self.tokens.values() if t.stage is TokenState.CREATED]
        unended = [t for t in self.tokens.values() if not t.stage.ended]
        nested = [t for t in map(rig.nested._known.get, self.inside) if t is not None]
        unended += [t for t in nested if not t.stage.ended]
        count = rig.scheduler.accounts.unended_count
        assert count + len(fresh) == len(unended)
        if self.behind:
            return
        assert not fresh
        assert rig.engine.pending_count() == count
        waiting = [t for t in unended if t.stage is TokenState.WAITING]
        assert rig.scheduler.accounts.waiting_count == len(waiting)
        for token in (*self.tokens.values(), *nested):
            assert self.ended.get(token, token.stage) is token.stage, token
            if token.stage.ended:
                self.ended[token] = token.stage
        for number, token in self.tokens.items():
            if number in self.batches:
                assert len(self.batches[number].outcomes) <= 1
            else:
                assert token.done() == token.stage.ended

    @invariant()
    def peers_keep_what_their_processes_refer_to(self):
        if self.behind:
            return
        for link in self.rig.all_links():
            if link in self.rig.backend.condemned or link.has_news():
                continue
            assert link.leases.requests.keys() <= set(link.held)
            peer = self.rig.peers.of(link)
            kept = Counter(dict.fromkeys(peer.kept, 1)) + peer.kept_again
            assert kept == +self.refs.get(link, Counter()), link
            assert not peer.unsettled

    def teardown(self):
        try:
            if hasattr(self, "rig"):
                self.wind_up()
        finally:
            self.stack.close()

    def wind_up(self):
        """Let everything go on: every token ends, and nothing is left."""
        rig = self.rig
        self.control.pause_admission(paused=False)
        for name in NAMES:
            self.control.pause_operation(name, paused=False)
        for _ in range(100):
            self.revive()
            if not (rig.scheduler.accounts.unended_count or any(x.held for x in rig.all_links())):
                break
            self.finish_all()
            rig.after(3.0)
        assert rig.scheduler.accounts.unended_count == 0
        assert all(token.stage.ended for token in self.tokens.values())
        for link in rig.all_links():
            while numbers := self.referred(link):
                link.forget_tokens(*numbers)
                self.refs[link].subtract(numbers)
        rig.run()
        for number, recipient in self.batches.items():
            assert recipient.outcomes or self.tokens[number].stage is TokenState.KILLED
        rig.check_nothing_left()
        assert not any(rig.peers.of(link).kept for link in rig.all_links())

    def revive(self):
        """Let all cores that were not given up have a process that takes tokens."""
        backend = self.rig.backend
        ran["dismissed"] += len(backend.dismissed)
        for link in dict.fromkeys([*backend.condemned, *backend.dismissed]):
            self.exit(link)
        for core in startable(self):
            backend.start(core)
        for link in self.rig.all_links():
            link.waiting = False
            if not link.up:
                link.come_up()
            elif link.ready and link.seat in self.cores:
                backend.recover(link)
        self.rig.run()

    def finish_all(self):
        """Let processes finish what they hold, and give back what they were asked for."""
        for link in self.links():
            if link.seat not in self.cores and (numbers := self.returnable(link)):
                link.give_back(*numbers)
        self.rig.run()
        # (What came back has been sent: a process runs some of that before its successor is up.)
        for link in self.links():
            while numbers := self.finishable(link):
                for number in numbers:
                    link.finish(number, number)
        self.rig.run()


IMPORTANT = [
    *(f"call {kind}" for kind in FUNCTIONS),
    "call with dependencies",
    "batch",
    "begin",
    "finish",
    "fail",
    "drop",
    "give back all",
    "cut",
    "hungry",
    "call inside",
    "member",
    "claim",
    "on top",
    "forget",
    "want",
    "carry",
    "ask kill",
    "kill",
    "cancel",
    "withdraw",
    "drain",
    "kill all",
    "pause",
    "resume",
    "wait",
    "come up",
    "lose",
    "lose a relieved",
    "condemned",
    "dismissed",
    "give up",
    "start",
    "irreplaceable",
    "suspect",
    "recover",
]
"""What has to have happened, or the examples show little."""


@pytest.mark.timeout(120)
def test_engine(caplog):
    """Each token is in one place, ends once, as it was to end, and nothing is left of any."""
    caplog.set_level(logging.CRITICAL)
    chosen = settings(max_examples=100, stateful_step_count=30)
    run_until_all(EngineMachine, ran, IMPORTANT, chosen)
