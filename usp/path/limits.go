package path

// Limits bound what a path may cost. A zero field stands for its default.
type Limits struct {
	Length      int // bytes of the path; default 4096
	Steps       int // steps of the path, those inside expressions included; default 64
	Expressions int // search expressions of the path; default 16
	Components  int // components of one expression; default 16
}

// The defaults of Limits.
const (
	DefaultLength      = 4096
	DefaultSteps       = 64
	DefaultExpressions = 16
	DefaultComponents  = 16
)

func (l Limits) withDefaults() Limits {
	if l.Length <= 0 {
		l.Length = DefaultLength
	}
	if l.Steps <= 0 {
		l.Steps = DefaultSteps
	}
	if l.Expressions <= 0 {
		l.Expressions = DefaultExpressions
	}
	if l.Components <= 0 {
		l.Components = DefaultComponents
	}
	return l
}

// Parse parses a path of the instantiated data model (idmpath of the grammar)
// under the default limits. The error is a *SyntaxError.
func Parse(s string) (Path, error) { return Limits{}.Parse(s) }

// ParseSchema parses a path of the supported data model (sdmpath), with "{i}" or
// numbers for instances, under the default limits. Commands and events are
// taken too, as GetSupportedDM has it since USP 1.3. The error is a
// *SyntaxError.
func ParseSchema(s string) (Path, error) { return Limits{}.ParseSchema(s) }

// ParseRelative parses a path relative to an object, such as "Enable" or
// "Stats.BytesSent" (TR-369 "Relative Paths"), under the default limits. The
// error is a *SyntaxError.
func ParseRelative(s string) (Path, error) { return Limits{}.ParseRelative(s) }

// Parse is the function Parse under other limits.
func (l Limits) Parse(s string) (Path, error) { return l.parse(s, instantiated) }

// ParseSchema is the function ParseSchema under other limits.
func (l Limits) ParseSchema(s string) (Path, error) { return l.parse(s, supported) }

// ParseRelative is the function ParseRelative under other limits.
func (l Limits) ParseRelative(s string) (Path, error) { return l.parse(s, relative) }
