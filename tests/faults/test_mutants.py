from django_jsonbuffer.store import scripts
from django_jsonbuffer.store.scripts import Script
from tests.faults.mutants import all_mutants
from tests.server import Redis


def test_mutants_that_were_made_by_hand_fit_the_scripts(client_of_server: Redis) -> None:
    all_scripts = [script for script in vars(scripts).values() if isinstance(script, Script)]
    mutants = all_mutants(client_of_server)
    assert {f"{script.name}.lua" for script in all_scripts} <= {mutant.file for mutant in mutants}
