from tests.differential.scale import HAS_SERVERS

collect_ignore = [] if HAS_SERVERS else ["test_databases.py", "test_postgresql.py"]
