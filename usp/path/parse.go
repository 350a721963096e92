package path

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// dialect is the form of path that is being read.
type dialect uint8

const (
	instantiated dialect = iota
	supported
	relative
)

// parser reads one path from left to right; it never goes back.
type parser struct {
	s       string
	i       int
	dialect dialect
	lim     Limits
	steps   []Step
	inner   int // steps inside expressions
	exprs   int
}

func (l Limits) parse(s string, d dialect) (Path, error) {
	l = l.withDefaults()
	p := parser{s: s, dialect: d, lim: l}
	if len(s) > l.Length {
		return Path{}, p.fail("%d bytes are too long, at most %d are accepted", len(s), l.Length)
	}
	p.steps = make([]Step, 0, min(strings.Count(s, ".")+1, l.Steps))
	kind, err := p.path()
	if err != nil {
		return Path{}, err
	}
	return Path{Kind: kind, Steps: p.steps}, nil
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{Path: p.s, Offset: p.i, Msg: fmt.Sprintf(format, args...)}
}

// end reports whether nothing is left.
func (p *parser) end() bool { return p.i == len(p.s) }

// at reports whether c comes next.
func (p *parser) at(c byte) bool { return p.i < len(p.s) && p.s[p.i] == c }

// path reads the whole string: segments with dots between them.
func (p *parser) path() (Kind, error) {
	for {
		p.plain()
		kind, err := p.segment()
		if err != nil {
			return 0, err
		}
		if p.end() {
			// idmpath and sdmpath have at least one dot: "Device." is the shortest.
			if len(p.steps) == 1 && p.dialect != relative {
				return 0, p.fail("a path has at least one dot, as in %q", "Device.")
			}
			return kind, nil
		}
		if kind == Command || kind == Event {
			return 0, p.fail("nothing may follow a command or an event")
		}
		if !p.at('.') {
			r, _ := utf8.DecodeRuneInString(p.s[p.i:])
			return 0, p.fail("unexpected %q", r)
		}
		p.i++
		if p.end() {
			return Object, nil
		}
	}
}

// plain reads names that have a dot and something else behind them, quickly:
// most paths are little more. What it cannot read it leaves to segment.
func (p *parser) plain() {
	s, i, steps := p.s, p.i, p.steps
	for i < len(s) && class[s[i]]&letter != 0 && len(steps)+p.inner < p.lim.Steps {
		j := i + 1
		for j < len(s) && class[s[j]]&(letter|digit|hyphen) != 0 {
			j++
		}
		if j+1 >= len(s) || s[j] != '.' {
			break
		}
		steps = append(steps, Step{Name: s[i:j]})
		i = j + 1
	}
	p.i, p.steps = i, steps
}

// segment reads what stands between two dots, and returns the kind of the path
// if it ends here.
func (p *parser) segment() (Kind, error) {
	if p.end() {
		return 0, p.fail("a name is missing")
	}
	c := p.s[p.i]
	if class[c]&letter != 0 {
		return p.name()
	}
	switch {
	case c == '*' && p.dialect != supported:
		p.i++
		return Row, p.instance(Step{Kind: Wildcard})
	case c == '[' && p.dialect != supported:
		return Row, p.search()
	case c == '{' && p.dialect == supported:
		if !strings.HasPrefix(p.s[p.i:], "{i}") {
			return 0, p.fail("only {i} stands for an instance")
		}
		p.i += len("{i}")
		return Row, p.instance(Step{Kind: Placeholder})
	case class[c]&digit != 0:
		n, err := p.number()
		if err != nil {
			return 0, err
		}
		return Row, p.instance(Step{Kind: Instance, Number: n})
	case c == '.':
		return 0, p.fail("a name is missing before the dot")
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	return 0, p.fail("%q cannot begin a name or an instance", r)
}

// push adds a step, within bounds.
func (p *parser) push(st Step) error {
	if len(p.steps)+p.inner >= p.lim.Steps {
		return p.fail("more than %d steps", p.lim.Steps)
	}
	p.steps = append(p.steps, st)
	return nil
}

// instance adds a step that selects rows: only a table's name can precede it.
func (p *parser) instance(st Step) error {
	if n := len(p.steps); n == 0 || p.steps[n-1].Kind != Name || n == 1 && p.dialect != relative {
		return p.fail("an instance must follow the name of a table")
	}
	return p.push(st)
}

// name reads a name and what may be tied to it: "()", "!", "+", "#2+".
func (p *parser) name() (Kind, error) {
	start := p.i
	p.skipName()
	if p.end() || p.s[p.i] == '.' {
		return Parameter, p.push(Step{Kind: Name, Name: p.s[start:p.i]})
	}
	kind := Parameter
	switch {
	case strings.HasPrefix(p.s[p.i:], "()"):
		p.i += len("()")
		kind = Command
	case p.s[p.i] == '!':
		p.i++
		kind = Event
	case p.s[p.i] == '+' || p.s[p.i] == '#':
		return p.follow(start)
	}
	return kind, p.push(Step{Kind: Name, Name: p.s[start:p.i]})
}

// follow reads the reference-following part behind the name that began at
// start. A dot has to come next (TR-369 "Reference Following").
func (p *parser) follow(start int) (Kind, error) {
	if p.dialect == supported || len(p.steps) == 0 && p.dialect != relative {
		return 0, p.fail("no reference can be followed here")
	}
	if err := p.push(Step{Kind: Name, Name: p.s[start:p.i]}); err != nil {
		return 0, err
	}
	item, err := p.item()
	if err != nil {
		return 0, err
	}
	if !p.at('.') {
		return 0, p.fail("a dot must come behind the + that follows a reference")
	}
	return Parameter, p.push(Step{Kind: Follow, Number: item})
}

// item reads "+", "#n+" or "#*+" and returns the item's number.
func (p *parser) item() (uint32, error) {
	item := uint32(1) // without "#" it is the first of the list
	if p.at('#') {
		p.i++
		if p.at('*') {
			p.i++
			item = AllItems
		} else {
			n, err := p.number()
			if err != nil {
				return 0, err
			}
			item = n
		}
	}
	if !p.at('+') {
		return 0, p.fail("a + is missing behind the item's number")
	}
	p.i++
	return item, nil
}

// number reads a posnum: no sign, no leading zero, within 32 bits.
func (p *parser) number() (uint32, error) {
	start, n := p.i, uint64(0)
	for ; p.i < len(p.s) && class[p.s[p.i]]&digit != 0; p.i++ {
		n = n*10 + uint64(p.s[p.i]-'0')
		if n > math.MaxUint32 {
			return 0, p.fail("the number is larger than %d", uint32(math.MaxUint32))
		}
	}
	switch {
	case p.i == start:
		return 0, p.fail("a number is missing")
	case p.s[start] == '0':
		p.i = start
		return 0, p.fail("a number starts at 1 and has no leading zero")
	case p.i < len(p.s) && class[p.s[p.i]]&(letter|hyphen) != 0:
		return 0, p.fail("a name cannot begin with a digit")
	}
	return uint32(n), nil
}

// skipName moves behind the name that begins here.
func (p *parser) skipName() {
	i := p.i
	for i < len(p.s) && class[p.s[i]]&(letter|digit|hyphen) != 0 {
		i++
	}
	p.i = i
}
