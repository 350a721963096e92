package soap

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// space is the kind of an XML namespace: all that reading asks of it.
type space uint8

const (
	spaceNone       space = iota // no prefix and no default namespace
	spaceUndeclared              // a prefix that nothing declares
	spaceOther
	spaceEnvelope
	spaceEncoding
	spaceCWMP
)

// The namespaces written.
const (
	envelopeNamespace = "http://schemas.xmlsoap.org/soap/envelope/"
	encodingNamespace = "http://schemas.xmlsoap.org/soap/encoding/"
	schemaNamespace   = "http://www.w3.org/2001/XMLSchema"
	instanceNamespace = "http://www.w3.org/2001/XMLSchema-instance"
)

// binding is a namespace declaration in force: which prefix, since what depth.
type binding struct {
	prefix  string
	depth   int
	space   space
	version cwmp.Version // of spaceCWMP
}

// spaceOf gives the kind of a namespace. The SOAP namespaces are known by how
// they begin: the ends come misspelt, and the prefixes say nothing, since whole
// product lines bind "soap" to the encoding (tolerance namespaceKind).
func spaceOf(uri string) (space, cwmp.Version) {
	uri = strings.TrimSpace(uri)
	if v, ok := cwmp.VersionOfNamespace(uri); ok {
		return spaceCWMP, v
	}
	const soap = "http://schemas.xmlsoap.org/soap/"
	rest, ok := strings.CutPrefix(uri, soap)
	switch {
	case uri == "":
		return spaceNone, 0
	case ok && strings.HasPrefix(rest, "env"):
		return spaceEnvelope, 0
	case ok && strings.HasPrefix(rest, "enc"):
		return spaceEncoding, 0
	}
	return spaceOther, 0
}

// orUndeclared reports whether an element is of the space wanted, or comes
// without any declaration and is taken at its name (tolerance undeclaredPrefix).
func (sp space) orUndeclared(want space) bool {
	return sp == want || sp == spaceNone || sp == spaceUndeclared
}

// space returns the kind of namespace of the element just entered.
func (s *scanner) space() (space, cwmp.Version) {
	for i := len(s.bindings) - 1; i >= 0; i-- {
		if b := &s.bindings[i]; b.prefix == s.prefix {
			return b.space, b.version
		}
	}
	if s.prefix == "" {
		return spaceNone, 0
	}
	return spaceUndeclared, 0
}

// anyVersion returns the version of a CWMP namespace declared so far: that of
// an answer to a message whose own version was never read.
func (s *scanner) anyVersion() cwmp.Version {
	for _, b := range s.bindings {
		if b.space == spaceCWMP {
			return b.version
		}
	}
	return cwmp.Version1_0
}
