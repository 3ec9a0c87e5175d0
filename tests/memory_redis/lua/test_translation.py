from .running import refused, same

test_conditions = same(
    "if nil then return 1 elseif false then return 2 else return 3 end",
    "if 0 then return 'zero is true' end", "if '' then return 'so is an empty text' end",
    "if 1 > 2 then return 1 elseif 1 == 1 then return 2 end",
    "if not nil and (1 < 2 or nil) then return 1 end",
    "local x = 5 if x == 5 then x = 6 end return x",
    "if true then end return 1",
    "if 1 == 1 then if 1 == 2 then return 1 else return 2 end else return 3 end",
)  # fmt: skip

test_loops = same(
    "local s = 0 for i = 1, 4 do s = s + i end return s",
    "local s = '' for i = 10, 1, -3 do s = s .. i .. ' ' end return s",
    "local s = 0 for i = 3, 2 do s = 1 end return s",
    "local s = 0 for i = 1, 2.5 do s = s + i end return s",
    "local s = 0 for i = 1, 5 do if i == 3 then break end s = s + i end return s",
    "local s = 0\n"
    "for i = 1, 3 do for j = 1, i do if j == 2 then break end s = s + i end end return s",
    "local i, s = 0, 0 while i < 4 do i = i + 1 s = s + i end return s",
    "local i = 0 while true do i = i + 1 if i > 3 then break end end return i",
    "local i = 0 repeat i = i + 1 until i == 5 return i",
    "local n = 0 repeat local done = true n = n + 1 until done return n",
    "local s = 0 for _, x in ipairs({1, 2, nil, 4}) do s = s + x end return s",
    "local s = '' for i, x in ipairs({'a', 'b'}) do s = s .. i .. x end return s",
    "local n = 0 for k, v in pairs({1, 2, a = 3, b = nil}) do n = n + v end return n",
    "local n = 0 for k in pairs({1, nil, 3}) do n = n + k end return n",
    "local s = '' for a, b in string.gmatch('a1 b2', '(%a)(%d)') do s = s .. a .. b end return s",
    "for i = 1, 0 do end return 1",
)  # fmt: skip

test_assignments = same(
    "local a, b = 1, 2 a, b = b, a return {a, b}",
    "local a, b, c = 1 return {a, b == nil, c == nil}",
    "local a, b = 1, 2, 3 return {a, b}",
    "local function f() return 1, 2, 3 end local a, b, c, d = f() return {a, b, c, d == nil}",
    "local function f() return 1, 2 end local a, b, c = f(), 5 return {a, b, c == nil}",
    "local t = {} t.x, t.y = 1, 2 return {t.x, t.y}",
    "local t, i = {}, 1 i, t[i] = i + 1, 20 return {i, t[1], t[2] == nil}",
    "local t = {a = {}} t.a, t.a.b = 1, 2 return t.a",
    "local t = {1, 2} t[1], t[2] = t[2], t[1] return t",
    "local function f() return 1, 2 end local t = {} t.a, t.b, t.c = f() return {t.a, t.b, t.c}",
    "local a a = 5 return a",
    "local t = {} t[1] = 'x' t[#t + 1] = 'y' return t",
)  # fmt: skip

test_functions = same(
    "local function f() return 1 end return f()",
    "local f f = function() return 2 end return f()",
    "local f function f() return 3 end return f()",
    "local function f() do return 1 end end return f()",
    "local function f(x) if x then return 'yes' end end return {f(1), f(false) == nil}",
    "do local function f() return 1 end end return 2",
    "local function f() return 1 end; f(); return 2;",
)

test_returns = same("return", "return 1, 2", "do return 5 end", "local x = 1", "return {1, nil, 3}")

test_what_is_not_supported = refused(
    ("x = 1", "Line 1: 'x' is not known."),
    ("function f() end", "Line 1: 'f' is not known."),
    ("local f\nfunction f.x() end", "Line 2: '.' stands where '(' should be."),
    (
        "local function f() end\nf = nil",
        "Line 2: an assignment to a local function is not supported.",
    ),
    ("tostring = 5", "Line 1: only a local variable or a place in a table can be assigned to."),
    ("local t = {} t.x", "Line 1: a statement is expected here."),
    ("local t = {}\nlocal a = t.f() = 1", "Line 2: '=' stands where 'name' should be."),
    ("if 1 then return 1", "Line 1: 'end of script' stands where 'name' should be."),
    ("for x, y = 1, 2 do end", "Line 1: a loop over numbers has one variable."),
    (
        "if 1 then elseif (function() return 1 end)() then end",
        "Line 1: a function in the condition of an elseif is not supported.",
    ),
)
