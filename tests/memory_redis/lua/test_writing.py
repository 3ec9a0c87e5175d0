"""Scopes, and functions that use the variables around them."""

from .running import same

test_scopes = same(
    "local x = 1 do local x = 2 end return x",
    "local x = 1 do x = 2 end return x",
    "local x = 1 local x = x + 1 return x",
    "local x = 1 if true then local x = 5 end return x",
    "local x = 1 for x = 5, 6 do end return x",
    "local x = 1 for _, x in ipairs({7}) do end return x",
    "local x = 'a' while true do local x = 'b' break end return x",
    "local x = 1 local function f(x) x = 5 return x end return {f(2), x}",
    "local s = '' for i = 1, 2 do local x s = s .. tostring(x) x = i end return s",
)

test_upvalues = same(
    "local n = 0 local function f() n = n + 1 end f() f() return n",
    "local n = 0 local function f() local function g() n = n + 1 end g() g() end f() return n",
    "local function counter() local n = 0 return function() n = n + 1 return n end end\n"
    "local a, b = counter(), counter() a() a() return {a(), b()}",
    "local n = 1 local function f() local n = 2 n = 3 return n end return {f(), n}",
    "local n = 1 local function f() return n end n = 2 return f()",
    "local n local function f() n = 5 end f() return n",
    "local t = {} for i = 1, 3 do t[i] = i end local function f() return t[2] end return f()",
    "local function f(n) local function g() n = n * 2 end g() g() return n end return f(1)",
    "local x = 1 do local x = 2 local function f() x = x + 1 return x end f() f() return x end",
    "local even, odd\n"
    "function even(n) if n == 0 then return true end return odd(n - 1) end\n"
    "function odd(n) if n == 0 then return false end return even(n - 1) end return even(10)",
)

test_python_names_are_no_problem = same(
    "local class, def, None, rest = 1, 2, 3, 4 return {class, def, None, rest}",
    "local script, held_1, first = 1, 2, 3 return {script, held_1, first}",
    "local t = {class = 1} return t.class",
)
