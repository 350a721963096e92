package path

import (
	"strings"
	"unicode/utf8"
)

// Op is the operator of a Component.
type Op uint8

// The operators (oper of the grammar).
const (
	Equal          Op = iota // ==
	NotEqual                 // !=
	Contains                 // ~=, for comma-separated lists
	Less                     // <
	LessOrEqual              // <=
	Greater                  // >
	GreaterOrEqual           // >=
)

var opText = [...]string{Equal: "==", NotEqual: "!=", Contains: "~=", Less: "<", LessOrEqual: "<=", Greater: ">", GreaterOrEqual: ">="}

func (o Op) String() string { return opText[o] }

// Expr is a search expression: it holds where all its Components hold. There is
// at least one.
type Expr struct {
	Components []Component
}

// Component is one comparison of an expression.
type Component struct {
	Param  []Step // path relative to the row; Name and Follow steps only (no child tables)
	Op     Op
	Value  string // the constant, unescaped
	Quoted bool   // it was written in quotes: a string
}

// Key returns the name of the parameter if the component is an equality with a
// parameter of the row itself, as in addressing by unique key.
func (c *Component) Key() (name string, ok bool) {
	if c.Op != Equal || len(c.Param) != 1 {
		return "", false
	}
	return c.Param[0].Name, true
}

// ParamPath returns the component's relative path in canonical writing.
func (c *Component) ParamPath() string { return string(appendSteps(nil, c.Param)) }

func (e *Expr) String() string { return string(e.Append(nil)) }

// Append appends the expression in canonical writing to b.
func (e *Expr) Append(b []byte) []byte {
	b = append(b, '[')
	for i := range e.Components {
		c := &e.Components[i]
		if i > 0 {
			b = append(b, "&&"...)
		}
		b = appendSteps(b, c.Param)
		b = append(b, c.Op.String()...)
		if c.Quoted {
			b = appendQuoted(b, c.Value)
		} else {
			b = append(b, c.Value...)
		}
	}
	return append(b, ']')
}

// Quote returns s as a literal of an expression, quotes included.
func Quote(s string) string { return string(appendQuoted(nil, s)) }

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch s[i] {
		case '"':
			b = append(b, "%22"...)
		case '%':
			b = append(b, "%25"...)
		default:
			b = append(b, s[i])
		}
	}
	return append(b, '"')
}

// search reads an expression in brackets and adds it as a step.
func (p *parser) search() error {
	if p.exprs++; p.exprs > p.lim.Expressions {
		return p.fail("more than %d search expressions", p.lim.Expressions)
	}
	p.i++
	e := new(Expr)
	for {
		if len(e.Components) == p.lim.Components {
			return p.fail("more than %d components in an expression", p.lim.Components)
		}
		c, err := p.component()
		if err != nil {
			return err
		}
		e.Components = append(e.Components, c)
		p.skipSpace()
		switch {
		case p.at(']'):
			p.i++
			return p.instance(Step{Kind: Search, Expr: e})
		case strings.HasPrefix(p.s[p.i:], "&&"):
			p.i += len("&&")
		case strings.HasPrefix(p.s[p.i:], "||"):
			return p.fail("expressions are joined by && only")
		default:
			return p.fail("&& or ] is missing")
		}
	}
}

// component reads relpath oper value.
func (p *parser) component() (c Component, err error) {
	p.skipSpace()
	if c.Param, err = p.relpath(); err != nil {
		return c, err
	}
	p.skipSpace() // R-ARC.9a
	if c.Op, err = p.operator(); err != nil {
		return c, err
	}
	p.skipSpace()
	if p.at('"') {
		c.Quoted = true
		c.Value, err = p.quoted()
		return c, err
	}
	start := p.i
	for p.i < len(p.s) && class[p.s[p.i]]&literal != 0 {
		p.i++
	}
	if p.i == start {
		return c, p.fail("a value is missing: a number, true, false, a dateTime or a string in double quotes")
	}
	c.Value = p.s[start:p.i]
	return c, nil
}

// relpath reads names joined by dots; a name can follow a reference.
func (p *parser) relpath() ([]Step, error) {
	var steps []Step
	add := func(st Step) error {
		if p.inner++; len(p.steps)+p.inner > p.lim.Steps {
			return p.fail("more than %d steps", p.lim.Steps)
		}
		steps = append(steps, st)
		return nil
	}
	for {
		if p.end() || class[p.s[p.i]]&letter == 0 {
			return nil, p.fail("a parameter's name is missing (instances of child tables cannot be compared)")
		}
		start := p.i
		p.skipName()
		if err := add(Step{Kind: Name, Name: p.s[start:p.i]}); err != nil {
			return nil, err
		}
		if p.at('+') || p.at('#') {
			item, err := p.item()
			if err != nil {
				return nil, err
			}
			if err := add(Step{Kind: Follow, Number: item}); err != nil {
				return nil, err
			}
			if !p.at('.') {
				return nil, p.fail("a dot must come behind the + that follows a reference")
			}
		}
		if !p.at('.') {
			return steps, nil
		}
		p.i++
	}
}

func (p *parser) operator() (Op, error) {
	rest := p.s[p.i:]
	// The two-byte operators first: "<=" begins with "<".
	for _, op := range [...]Op{Equal, NotEqual, Contains, LessOrEqual, GreaterOrEqual, Less, Greater} {
		if strings.HasPrefix(rest, opText[op]) {
			p.i += len(opText[op])
			return op, nil
		}
	}
	return 0, p.fail("an operator is missing: ==, !=, ~=, <, <=, > or >=")
}

// quoted reads a literal and undoes its escapes: %22 is a quote, %25 a percent
// sign, and so on for any byte (TR-369 "Searching with Expressions").
func (p *parser) quoted() (string, error) {
	p.i++
	n := strings.IndexByte(p.s[p.i:], '"')
	if n < 0 {
		return "", p.fail("the string has no closing quote")
	}
	raw := p.s[p.i : p.i+n]
	if strings.IndexByte(raw, '%') < 0 {
		p.i += n + 1
		return raw, nil
	}
	b := make([]byte, 0, n)
	for i := 0; i < n; i++ {
		if raw[i] != '%' {
			b = append(b, raw[i])
			continue
		}
		if i+2 >= n || unhex(raw[i+1]) > 15 || unhex(raw[i+2]) > 15 {
			p.i += i
			return "", p.fail("two hex digits must follow %%; a percent sign is written %%25")
		}
		b = append(b, unhex(raw[i+1])<<4|unhex(raw[i+2]))
		i += 2
	}
	if !utf8.Valid(b) {
		return "", p.fail("the string is not UTF-8 when its escapes are undone")
	}
	p.i += n + 1
	return string(b), nil
}

// unhex returns the value of a hex digit, 255 for any other byte.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func (p *parser) skipSpace() {
	for p.at(' ') || p.at('\t') {
		p.i++
	}
}
