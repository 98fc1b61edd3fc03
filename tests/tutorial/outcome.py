"""Counts tests, and prints a line for each."""


class Outcome:
    def __init__(self):
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def passed(self, name):
        self.counts["passed"] += 1
        print(f"ok      {name}", flush=True)

    def failed(self, name, why):
        self.counts["failed"] += 1
        print(f"FAILED  {name}")
        for line in why.rstrip().splitlines()[-40:]:
            print(f"  | {line}")
        print(end="", flush=True)

    def skipped(self, name, why):
        self.counts["skipped"] += 1
        print(f"skipped {name}: {why}", flush=True)

    def check(self, name, problem):
        """A test that has failed if there is a problem to tell of."""
        if problem:
            self.failed(name, problem)
        else:
            self.passed(name)

    def good(self):
        return self.counts["failed"] == 0 and self.counts["passed"] > 0

    def total(self):
        text = f"{self.counts['passed']} passed, {self.counts['failed']} failed"
        return text + (f", {self.counts['skipped']} skipped" if self.counts["skipped"] else "")
