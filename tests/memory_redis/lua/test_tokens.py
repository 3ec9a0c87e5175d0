from .running import refused, same

test_comments_are_skipped = same(
    "return 1 -- one",
    "--[[ two\nlines ]] return 1",
    "-- first\nreturn --[[in between]] 1",
    "return 1--",
)

test_numbers = same(
    "return {0, 7, 12345678901}",
    "return {tostring(1.5), tostring(2.50), tostring(1e3), tostring(1.5E-3), tostring(1e+2)}",
)

test_texts = same(
    """return {'a', "b", 'it"s', "it's", ''}""",
    r"""return {'\n\r\t\\', '\'', "\"", '\a\b\f\v', '\q'}""",
    r"""return {'\0', '\65', '\065', '\255', '\1234'}""",
    "return [[long\nand 'quoted' \\n]]",
    "return [[\nwithout the first line break]]",
    "return 'line\\\nbreak'",
    "return '\u00e9 \u20ac'",
)

test_signs_need_no_space = same("return {1+2,-3,1-2,2*3,7%4,1 ..2,#'ab',1<2,1<=2,1==1,1~=1}")

test_what_is_not_supported = refused(
    ("return 2 ^ 3", "Line 1: '^' is not supported."),
    ("local t = {}\nreturn t:sub(1)", "Line 2: ':' is not supported."),
    ("return 0x10", "Line 1: 'x10' is not known."),
    ("return 'open", 'Line 1: "\'" is not supported.'),
    (r"return '\300'", r"Line 1: '\300' is not a byte."),
    ("return [==[x]==]", "Line 1: '[' stands where 'name' should be."),
)
