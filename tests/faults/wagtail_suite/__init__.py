"""Wagtail's own test suite, with every model recorded.

``python -m tests.faults.wagtail_suite`` runs the suite twice: without any recording, and with one
of every model. It reports the tests that only the recording breaks, and the events that are wrong.

The modules in the order of their use:

``__main__``   runs the suite twice
``settings``   the settings of the suite, and what the recording needs
``buckets``    records every model
``noted``      the events of the present thread, as they are encoded
``oracle``     what an event must say, from the row alone
``apps``       connects the receivers that compare, after those of the recording
``saves``, ``links``  compare the events of each signal with the rows
``journal``    what all processes of the run found
``runner``     notes which tests failed, and why
``report``     the findings, as text
"""
