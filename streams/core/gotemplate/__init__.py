"""Go's text/template, as far as rules use it. In: a source, functions, data. Out: a text.

`values` says what a template can hold, `printing` and `quoting` show it as Go's fmt does, `tokens`
and `parse` read a source, `nodes` run it, `builtins` are the functions that every template has, in
the form that `vocabulary` defines.
"""
