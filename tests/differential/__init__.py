"""Recording, compared with the database.

The same program of saves runs in two worlds: one with plain models, one with recorded models. After
each step the two databases must be equal, and the events must tell what the rows gained.

``kinds``           the fields: how to make one, and the forms of its values
``forms``           the forms in which Django accepts the values of its own fields
``scalars``         Django's own fields
``custom_fields``   field classes that prepare, convert or hide their values
``column_fields``   field classes whose columns keep less than they are given
``customs``         the forms of the values of these classes
``postgres_kinds``  arrays, ranges and other fields of PostgreSQL
``relations``       foreign keys, and the rows that they may point to
``keys``            primary keys, and the forms of their values
``blueprints``      models made of these by chance
``worlds``          a blueprint becomes classes and tables
``snapshots``       the rows and the links of a world
``programs``        steps made by chance
``plays``           what the steps of a program share
``row_steps``       saves and deletions of one instance
``bulk_steps``      updates and bulk operations
``link_steps``      calls of many-to-many fields
``outside_steps``   the admin's form, and ``loaddata``
``oracle``          the JSON of a value that was read
``comparing``       events and rows become faults
``running``         a program runs in both worlds, and its faults are narrowed down
``faults``          the list that a failure prints
``databases``       a private database of each kind
``mariadb``         a private MariaDB server
``search``          programs with one seed, one after the other
``scale``           how many steps are run, and on which databases
"""
