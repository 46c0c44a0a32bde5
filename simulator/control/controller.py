"""Carries verbs out on a bank: for the control socket, the timeline and the command line alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from simulator import ledger
from simulator.bank import Bank
from simulator.cards.card import Card
from simulator.control import verbs
from simulator.control.verbs import Args, Result
from simulator.dice import Chance, Draws
from simulator.faults import Fault
from simulator.modem import Modem
from simulator.network.ussd import Menu
from simulator.phone import CallPlan
from simulator.reading import ScenarioError
from simulator.story.bays import select
from simulator.story.timeline import ANY, Story
from simulator.story.traffic import Flow
from simulator.story.typist import Typist

_EVERYWHERE: Final = frozenset({"", "all", "*"})
_ENDINGS: Final = ("\r", "\x1a", "\x1b")


class Controller:
    """Does verbs, and tells the scenario's story from the beginning. `on_stop` is for `stop`.

    Each verb is the method of its name: with the arguments alone, or after one modem (several in
    turn), or after all chosen modems, as `Verb.modem` says.
    """

    def __init__(self, bank: Bank, *, on_stop: Callable[[], None]) -> None:
        self._bank = bank
        self._on_stop = on_stop
        self._draws = self.draws("")
        self._typists: dict[str, Typist] = {}
        self._flows: dict[str, Flow] = {}
        self._n_flows = 0
        self._story = Story(
            bank.scenario.entries,
            clock=bank.clock,
            dice=bank.dice,
            ledger=bank.ledger,
            act=self.act,
        )

    def begin(self) -> None:
        """Let the scenario's timeline run."""
        self._story.begin()

    def end(self) -> None:
        """Let nothing more happen by itself."""
        self._story.end()
        for flow in self._flows.values():
            flow.end()

    @property
    def refusals(self) -> str:
        """How many entries of the timeline could not be done, and the first; empty = none."""
        found = self._story.refused
        entries = "entry" if len(found) == 1 else "entries"
        return f"{len(found)} {entries} refused; first: {found[0]}" if found else ""

    def draws(self, who: str) -> Draws:
        """What `any` is drawn from, for one connection or one entry of the story."""
        return Draws(self._bank.dice, who)

    def act(self, do: str, args: Args, draws: Draws | None = None) -> Result:
        """Carry one verb out; with several modems their answers are under `modems` by name.

        `draws` say which modem `any` is.

        Raises:
            ScenarioError: a wrong verb or argument.
            NoSuchThing: no such modem, card or hub.
            ValueError: it cannot be done now; with several modems: with none of them.
        """
        verb = verbs.verb(do)
        modems, value = verb.read(args)
        deed: Callable[..., Result] | None = getattr(self, f"_{do}", None)
        if deed is None:
            raise ValueError(f"{do} needs a connection of its own")
        if verb.modem == "none":
            return deed(value)
        if isinstance(value, verbs.OfCard) and value.card:
            return self._on_card(self._bank.card(value.card), deed, value)
        chosen = self._choose(modems or "all", (draws or self._draws).of(do))
        if verb.modem == "all":
            return deed(chosen, value)
        if verb.modem == "place":
            places = [""] if modems in _EVERYWHERE else [modem.name for modem in chosen]
            deed(places, value)
            return {"places": places}
        if isinstance(value, verbs.OfCard):
            return _each(chosen, lambda modem: self._on_card(_card(modem), deed, value))
        return _each(chosen, lambda modem: deed(modem, value))

    def _on_card(self, card: Card, deed: Callable[..., Result], value: verbs.OfCard) -> Result:
        holder = self._bank.holder(card)
        name = None if holder is None else holder.name
        return {"modem": name, "iccid": card.iccid, **deed(card, value)}

    def _choose(self, modems: str, chance: Chance) -> list[Modem]:
        everything = self._bank.modems
        if modems == ANY:
            return [everything[int(chance.draw() * len(everything))]]
        by_name = {modem.name: modem for modem in everything}
        return [by_name[name] for name in select(modems, list(by_name))]

    # ------------------------------------------------------------ messages and calls

    def _inject_sms(self, sms: verbs.IncomingSms) -> Result:
        card = self._bank.card(sms.to)
        network = self._bank.network
        if sms.tpdu is not None:
            network.send_raw(to=card, tpdu=bytes.fromhex(sms.tpdu))
            return {"segments": 1}
        segments = network.send_text(
            to=card, origin=sms.origin, text=sms.text, dcs=sms.dcs, pid=sms.pid
        )
        return {"segments": segments}

    def _send_sms(self, modem: Modem, sms: verbs.OutgoingSms) -> Result:
        return {"segments": self._typist(modem).send(sms.to, sms.text, report=sms.report)}

    def _type(self, modem: Modem, typing: verbs.Typing) -> Result:
        if not self._bank.is_plugged(modem.name):
            raise ValueError(f"{modem.name} is unplugged")
        text = typing.text
        card = modem.card
        if card is not None:
            known = {"pin": card.pin, "puk": card.subscription.puk, "iccid": card.iccid,
                     "number": card.subscription.number}  # fmt: skip
            for name, fact in known.items():
                text = text.replace(f"{{{name}}}", fact)
        if typing.enter and not text.endswith(_ENDINGS):
            text += "\r"
        said = self._typist(modem).type(text.encode("utf-8"))
        return {"answer": said.decode("utf-8", "replace")}

    def _inject_call(self, modem: Modem, plan: CallPlan) -> Result:
        _require_registered(modem)
        if not modem.phone.ring(plan):
            raise ValueError("the modem's line is taken")
        return {}

    def _dial(self, modem: Modem, plan: CallPlan) -> Result:
        _require_registered(modem)
        if not modem.phone.dial(plan, is_client=False):
            raise ValueError("the modem's line is taken")
        return {}

    def _hang_up(self, modem: Modem, _nothing: verbs.Nothing) -> Result:
        return {"ended": modem.phone.hang_up()}

    def _traffic(self, modems: Sequence[Modem], plan: verbs.Traffic) -> Result:
        self._n_flows += 1
        name = plan.name or f"traffic{self._n_flows}"
        if name in self._flows:
            self._flows.pop(name).end()
        chance = Chance(self._bank.dice, f"traffic/{name}")
        self._flows[name] = Flow(plan, modems, bank=self._bank, typist=self._typist, chance=chance)
        return {"name": name}

    def _stop_traffic(self, which: verbs.TrafficName) -> Result:
        names = [which.name] if which.name else list(self._flows)
        counts: Result = {}
        for name in names:
            flow = self._flows.pop(name, None)
            if flow is None:
                raise ValueError(
                    f"no traffic {name!r}; there is {', '.join(self._flows) or 'none'}"
                )
            flow.end()
            counts[name] = flow.count
        return {"ended": counts}

    def _typist(self, modem: Modem) -> Typist:
        found = self._typists.get(modem.name)
        if found is None:
            found = self._typists[modem.name] = Typist(modem, self._bank.clock)
        return found

    # ------------------------------------------------------------ faults and network

    def _set_fault(self, modem: Modem, fault: Fault) -> Result:
        modem.faults.set(fault)
        return {}

    def _clear_faults(self, modems: Sequence[Modem], which: verbs.FaultName) -> Result:
        for modem in modems:
            if which.fault is None:
                modem.faults.clear()
            else:
                modem.faults.clear(which.fault)
        return {}

    def _set_registration(self, card: Card, wanted: verbs.Registration) -> Result:
        self._bank.network.force_registration(card, wanted.stat)
        holder = self._bank.holder(card)
        if holder is not None:
            holder.search_again()
        return {}

    def _set_latency(self, pace: verbs.Pace) -> Result:
        network = self._bank.network
        was = network.times
        network.times = replace(
            was,
            latency=was.latency if pace.seconds is None else pace.seconds,
            report_delay=was.report_delay if pace.report_delay is None else pace.report_delay,
        )
        return {"seconds": was.latency, "report_delay": was.report_delay}

    def _set_network_error(self, new: verbs.NewRule) -> Result:
        self._bank.network.add_rule(new.rule)
        return {}

    def _clear_network_errors(self, _nothing: verbs.Nothing) -> Result:
        self._bank.network.set_rules(())
        return {}

    def _remove_network_error(self, old: verbs.NewRule) -> Result:
        return {"removed": self._bank.network.remove_rule(old.rule)}

    def _add_call_rule(self, new: verbs.NewCallRule) -> Result:
        self._bank.network.add_call_rule(new.rule)
        return {}

    def _clear_call_rules(self, _nothing: verbs.Nothing) -> Result:
        self._bank.network.set_call_rules(())
        return {}

    def _set_carrier_latency(self, pace: verbs.CarrierPace) -> Result:
        self._bank.network.set_carrier_latency(pace.carrier, pace.latency)
        return {"carrier": pace.carrier}

    def _lose_coverage(self, places: Sequence[str], where: verbs.Place) -> None:
        for place in places:
            self._bank.network.lose_coverage(carrier=where.carrier, modem=place)

    def _restore_coverage(self, places: Sequence[str], where: verbs.Place) -> None:
        for place in places:
            self._bank.network.restore_coverage(carrier=where.carrier, modem=place)

    def _set_signal(self, places: Sequence[str], how: verbs.Strength) -> None:
        for place in places:
            self._bank.network.set_signal(how.signal, carrier=how.carrier, modem=place)

    def _cut_off(self, card: Card, how: verbs.CutOff) -> Result:
        account = self._bank.network.account(card)
        account.cut_off(cms=how.cms, is_denied=how.denied, lasts=None)
        return {}

    def _lift(self, card: Card, _which: verbs.OfCard) -> Result:
        self._bank.network.account(card).lift()
        return {}

    def _set_balance(self, card: Card, money: verbs.Money) -> Result:
        self._bank.network.account(card).balance = money.balance
        return {}

    def _push_ussd(self, modem: Modem, menu: Menu) -> Result:
        if not self._bank.network.send_ussd(to=_card(modem), menu=menu):
            raise ValueError("the card is not registered, or has a session")
        return {}

    # ------------------------------------------------------------ power and cards

    def _reboot(self, modem: Modem, _nothing: verbs.Nothing) -> Result:
        if not modem.has_power:
            raise ValueError(f"{modem.name} is unplugged")
        modem.reboot()
        return {}

    def _unplug(self, modem: Modem, how: verbs.Unplugging) -> Result:
        self._bank.unplug(modem.name, keeps_power=how.keeps_power)
        return {}

    def _plug(self, modem: Modem, how: verbs.Plugging) -> Result:
        self._bank.plug(modem.name, is_renumbered=how.renumbered)
        return {}

    def _unplug_hub(self, hub: verbs.Hub) -> Result:
        names = self._bank.hub(hub.hub)
        for name in names:
            self._bank.unplug(name)
        return {"names": names}

    def _plug_hub(self, hub: verbs.Hub) -> Result:
        names = self._bank.hub(hub.hub)
        for name in names:
            self._bank.plug(name)
        return {"names": names}

    def _pull_card(self, modem: Modem, _nothing: verbs.Nothing) -> Result:
        iccid = modem.card.iccid if modem.card is not None else None
        self._bank.move_card(None, modem)
        return {"iccid": iccid}

    def _insert_card(self, modem: Modem, key: verbs.CardKey) -> Result:
        self._bank.move_card(self._bank.card(key.card), modem)
        return {}

    def _swap_cards(self, modem: Modem, with_: verbs.OtherModem) -> Result:
        found = select(with_.other, [one.name for one in self._bank.modems])
        if len(found) != 1:
            raise ScenarioError("the name or the number of one modem is needed", path=("other",))
        self._bank.swap(modem, self._bank.modem(found[0]))
        return {}

    # ------------------------------------------------------------ looking

    def _state(self, modems: Sequence[Modem], _nothing: verbs.Nothing) -> Result:
        return {"modems": [self._bank.state(modem.name) for modem in modems]}

    def _ledger(self, query: verbs.LedgerQuery) -> Result:
        lines, after = ledger.page(
            self._bank.ledger.path, query.where, offset=query.offset, limit=query.limit
        )
        return {"lines": lines, "offset": after}

    def _stop(self, _nothing: verbs.Nothing) -> Result:
        self._bank.clock.call_later(0.0, self._on_stop)
        return {}


def _each(modems: Sequence[Modem], deed: Callable[[Modem], Result]) -> Result:
    if len(modems) == 1:
        return {"modem": modems[0].name, **deed(modems[0])}
    done: Result = {}
    refused: dict[str, str] = {}
    for modem in modems:
        try:
            done[modem.name] = {"modem": modem.name, **deed(modem)}
        except (ValueError, LookupError) as error:
            refused[modem.name] = str(error)
    if not done:
        raise ValueError(next(iter(refused.values())))
    return {"modems": done, "refused": refused} if refused else {"modems": done}


def _card(modem: Modem) -> Card:
    if modem.card is None:
        raise ValueError(f"{modem.name} has no card")
    return modem.card


def _require_registered(modem: Modem) -> None:
    if not modem.is_registered:
        raise ScenarioError(f"{modem.name} is not registered (+CREG {modem.registration})")
