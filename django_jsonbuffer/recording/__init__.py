"""Recording: model signals in, events out.

The modules in the order in which an event passes:

``registry``      the recordings that have begun, also for classes that are defined later
``declaring``     the options of a recording, checked
``signals``       connects the receivers of a recording to the recorded classes
``saves``         the receivers of saves
``deletions``     the receivers of deletions
``links``         the receiver of changes of many-to-many fields
``stash``         values that a signal before a change keeps for the signal after it
``suppression``   blocks of code whose changes are not recorded
``events``        a change becomes an event
``rows``          the row of an instance, with as few queries as possible
``unchanged``     values that the instance holds as the database has them
``selects``       rows that are read from the database
``values``        the form of a value in an event
``changes``       the difference between two rows
``presentation``  the data of an event: values, masked values, labels, or the project's payload
``labels``        the display text of a value
``containment``   functions of the project, kept from aborting the open transaction
``actors``        who makes the changes
``destination``   where the events go, and what happens to an event that cannot be made

Three modules make events without these signals: ``bulk`` and ``updates`` (bulk operations and
``update()``, which send no signals) and ``hooks`` (any signal, with a function of the project).
"""
