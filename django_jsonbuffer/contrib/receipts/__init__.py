"""Receipts: each event is processed exactly once, as far as one database is concerned.

A receipt says which events have been processed. It is written in the same transaction as the rows
of the processor, so there are both or none. Before a worker calls the processor, it looks for
receipts.
"""
