"""Recording: model signals in, events out.

The modules in the order in which an event passes:

``declaring``    what each bucket records of which model
``signals``      the receivers of a recording, connected to the recorded classes
``links``        rows that a many-to-many field links with an instance
``stash``        values that a signal before a change keeps for the signal after it
``events``       a change becomes an event
``values``       a field's value as the database would return it
``stored_rows``  values that only the database knows
``actors``       who made the request
``destination``  where the events go

Two modules make events without these signals: ``bulk`` (bulk operations, which send no signals) and
``hooks`` (any signal, with a function of the project).
"""
