"""What all cases of a module share where each would take minutes of waiting: one relay, its simulators, and a clock that the test
moves on. The module's Lane says how they are set up, and what makes them fresh for the next case (fixture `lane`)."""

import harness
from harness import wait_until


class SharedLane:
    def __init__(self, folder, **sims):
        """sims: started, by name; the relay's first upstream is the first one."""
        self.sims = sims
        self.relay = harness.Relay(folder / "relay", next(iter(sims.values())), clock=True,
                                   retry={"first": "1m", "max": "1h", "give_up": "5d"})
        self.clock, self.cases, self.log_before = self.relay.clock, 0, 0

    def begin_case(self):
        """What happened so far is forgotten."""
        self.log_before = len(self.relay.log())
        self.cases += 1

    def events(self, name):
        """Those of this case."""
        return self.relay.events(name, since=self.log_before)

    def wait_events(self, name, n=1):
        def there():
            found = self.events(name)
            return found if len(found) >= n else None
        return wait_until(there, 15, lambda: f"{n} x {name} in:\n{self.log()}")

    def log(self):
        """The end of this case's."""
        return self.relay.log()[self.log_before:][-4000:]

    def wait_renewed(self, *login_ports):
        """A token can be renewed behind a delivery: a leap of the clock would end that request as one without an answer."""
        wait_until(lambda: not any(map(harness.has_connection_to, login_ports)), 20, "a token that is renewed")

    def wait_idle(self, port="smtp"):
        """At once where the clock has leapt over their 20 s; where it did a moment before they were idle, they end by themselves."""
        wait_until(lambda: all(sim.stats()["connections"][port]["now"] == 0 for sim in self.sims.values()), 40,
                   "the idle connections to end")

    def close(self):
        harness.stop_all(self.relay, *self.sims.values())
