"""The short form of the campaign; `python tests/campaigns/attacks.py` is the long one."""

import json

from campaigns import attacks


def test_a_service_that_is_attacked_serves_others_within_its_memory(phantoms, capsys):
    names = [attack.__name__ for attack in attacks.ATTACKS if attack is not attacks.large_pictures]
    chosen = [part for name in names for part in ("--attack", name)]
    held = attacks.main(["--seconds", "0.7", "--photographs", str(phantoms), *chosen])
    found = json.loads(capsys.readouterr().out)
    assert held == 0, found
    assert found["member_served"] > 5
