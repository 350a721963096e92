package path

// classes of bytes in paths. A byte can be in several.
const (
	letter  = 1 << iota // begins a name
	digit               // continues a name, makes up numbers
	hyphen              // continues a name
	literal             // makes up unquoted constants: numbers, booleans, dateTimes, hexBinary
)

// class has the classes of each byte; it is written here once and only read.
var class = [256]byte{
	'+': literal, '-': hyphen | literal, '.': literal, ':': literal,
	'0': digit | literal, '1': digit | literal, '2': digit | literal, '3': digit | literal, '4': digit | literal,
	'5': digit | literal, '6': digit | literal, '7': digit | literal, '8': digit | literal, '9': digit | literal,
	'A': letter | literal, 'B': letter | literal, 'C': letter | literal, 'D': letter | literal, 'E': letter | literal,
	'F': letter | literal, 'G': letter | literal, 'H': letter | literal, 'I': letter | literal, 'J': letter | literal,
	'K': letter | literal, 'L': letter | literal, 'M': letter | literal, 'N': letter | literal, 'O': letter | literal,
	'P': letter | literal, 'Q': letter | literal, 'R': letter | literal, 'S': letter | literal, 'T': letter | literal,
	'U': letter | literal, 'V': letter | literal, 'W': letter | literal, 'X': letter | literal, 'Y': letter | literal,
	'Z': letter | literal, '_': letter | literal,
	'a': letter | literal, 'b': letter | literal, 'c': letter | literal, 'd': letter | literal, 'e': letter | literal,
	'f': letter | literal, 'g': letter | literal, 'h': letter | literal, 'i': letter | literal, 'j': letter | literal,
	'k': letter | literal, 'l': letter | literal, 'm': letter | literal, 'n': letter | literal, 'o': letter | literal,
	'p': letter | literal, 'q': letter | literal, 'r': letter | literal, 's': letter | literal, 't': letter | literal,
	'u': letter | literal, 'v': letter | literal, 'w': letter | literal, 'x': letter | literal, 'y': letter | literal,
	'z': letter | literal,
}
