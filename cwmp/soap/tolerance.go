package soap

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/cwmp"
)

// The deviations of CPE that are read. Each has a name, by which the code and
// the rows of TestTolerances refer to it; those that are a function are below.
//
//	arrayType         size wrong, padded, absent: never looked at (attributes)
//	namespaceKind     prefixes mean nothing, SOAP namespaces misspelt (spaceOf)
//	undeclaredPrefix  Envelope, RPC or xsi without declaration (orUndeclared, isTypeAttribute)
//	defaultNamespace  RPC in the namespace of SOAP, by a default xmlns (readBody)
//	qualifiedArgument cwmp:DeviceId, xmlns on DeviceId: arguments go by local name (fields.read)
//	extraElement      unknown elements anywhere are passed over (fields.read)
//	extraAttribute    xsi:type and others where there are none (attributes)
//	anyOrder          arguments in any order (fields.read)
//	noArgument        arguments and lists that are absent are empty (fields.read)
//	itemName          array items of any element name (array)
//	noHeader          no Header, no cwmp:ID, or an empty one (readEnvelope)
//	noDeclaration     no XML declaration, or blanks before it (scanner.child)
//	instruction       comments and processing instructions anywhere (markup)
//	byteOrderMark     UTF-8 and UTF-16 marks, and UTF-16 without one (decode)
//	singleQuotes      attributes quoted either way (scanner.attribute)
//	contentType       any Content-Type: only its charset matters (decode)
//	latin1            ISO-8859-1 and windows-1252, declared in XML or in the Content-Type (decode)
//	wrongEncoding     bytes that are no UTF-8, encodings that are not known (repairUTF8)
//	bareAmpersand     "&" that begins no reference (unescape)
//	controlCharacter  0x02 and the like in text are kept as they are (scanner.text)
//	layout            line breaks and indentation around text (trimLayout)
//	repeatedText      Name or Value twice in one struct (text)
//	noValue           no Value, nil, or no xsi:type: an empty value, TypeUnknown (value)
//	xsiType           types without prefix, with a length, misspelt (cwmp.ParseType)
//	mistypedValue     text that is none of its type is kept as it is (value)
//	noName            list entries without a Name, or without anything, are dropped (named, array)
//	oddName           a Name without its path is kept as it is (token)
//	identity          OUI of any form, empty serial number are kept as they are (token)
//	eventStruct       several EventCodes in one struct, none, or no struct (readEvents)
//	eventCode         vendor's codes, other case, any order are kept as they are (readEvents)
//	number            "00", "+1", missing, beyond the type (parseInteger)
//	boolean           "TRUE", "2" (cwmp.ParseBoolean)
//	status            a fault code as the Status of a success is kept (number)
//	faultAnywhere     FaultStruct or its parts in any place, or absent (faultFields)
//	faultDetail       SOAP fault without detail, or with CWMP's part elsewhere (readFault)
//	faultCode         codes that are none of CWMP's (parseFaultCode)
//	operationKind     DU operation without xsi:type (operationKind)
//	cutTail           end tags after the RPC missing, junk after the Envelope (cutTail)

// trimAll takes all surrounding white space off names, numbers, dates.
func trimAll(s string) string {
	if s == "" || !isBlank(s[0]) && !isBlank(s[len(s)-1]) {
		return s
	}
	return strings.Trim(s, " \t\r\n")
}

// trimLayout takes off surrounding white space that contains a line break: that
// is how a printer laid out the XML. Blanks alone stay, since a password or an
// SSID may begin or end with one.
func trimLayout(s string) string {
	if s == "" || !isBlank(s[0]) && !isBlank(s[len(s)-1]) {
		return s
	}
	body := strings.TrimLeft(s, " \t\r\n")
	if lead := s[:len(s)-len(body)]; strings.ContainsAny(lead, "\r\n") {
		s = body
	}
	body = strings.TrimRight(s, " \t\r\n")
	if tail := s[len(body):]; strings.ContainsAny(tail, "\r\n") {
		s = body
	}
	return s
}

// isTypeAttribute knows xsi:type by its local name: the prefix is often
// undeclared, or bound to the XML Schema namespace of 1999.
func isTypeAttribute(name string) bool {
	return name == "type" || strings.HasSuffix(name, ":type")
}

// unescape resolves the character references and the five entities of XML, and
// makes line ends "\n" (XML 1.0, 2.11). An "&" that begins none of them stays
// as it is: CPE put raw URLs and SSIDs into values.
func unescape(s string) string {
	if strings.IndexByte(s, '&') < 0 && strings.IndexByte(s, '\r') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		switch s[i] {
		case '&':
			if r, n := reference(s[i:]); n > 0 {
				b.WriteRune(r)
				i += n
				continue
			}
			b.WriteByte('&')
		case '\r':
			if i+1 >= len(s) || s[i+1] != '\n' {
				b.WriteByte('\n')
			}
		default:
			b.WriteByte(s[i])
		}
		i++
	}
	return b.String()
}

// reference reads the reference at the start of s; n is its length, 0 if it is
// none. What XML cannot have (NUL, surrogates) becomes U+FFFD.
func reference(s string) (r rune, n int) {
	const longest = len("&#x0010FFFF;")
	end := strings.IndexByte(s[:min(len(s), longest)], ';')
	if end < 2 {
		return 0, 0
	}
	switch name := s[1:end]; {
	case name == "lt":
		return '<', end + 1
	case name == "gt":
		return '>', end + 1
	case name == "amp":
		return '&', end + 1
	case name == "quot":
		return '"', end + 1
	case name == "apos":
		return '\'', end + 1
	case name[0] == '#':
		digits, base := name[1:], 10
		if strings.HasPrefix(digits, "x") {
			digits, base = digits[1:], 16
		}
		code, err := strconv.ParseUint(digits, base, 32)
		if err != nil {
			return 0, 0
		}
		if code == 0 || code > math.MaxInt32 || !utf8.ValidRune(rune(code)) {
			return utf8.RuneError, end + 1
		}
		return rune(code), end + 1
	}
	return 0, 0
}

// parseInteger reads a number with sign and leading zeros, ok for the empty
// text too, which is 0.
func parseInteger(s string) (n int64, ok bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	// Beyond int64 ParseInt returns the nearest value, which is then cut to
	// the field's type.
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}

// parseBoolean reads a boolean in any spelling; what is none is false.
func parseBoolean(s string) bool {
	switch s { // nearly all are written so
	case "1":
		return true
	case "0":
		return false
	}
	v, _ := cwmp.ParseBoolean(s)
	return v
}

// readEvents reads the Event list. An EventStruct with two EventCodes is two
// events; a CommandKey belongs to the code before it, or to the first one.
func readEvents(s *scanner, m *cwmp.Inform) error {
	for {
		local, more, err := s.child()
		if err != nil || !more {
			return err
		}
		if local == "EventCode" { // without a struct around it
			if err := readEventCode(s, m); err != nil {
				return err
			}
			continue
		}
		if err := readEventStruct(s, m); err != nil {
			return err
		}
	}
}

func readEventStruct(s *scanner, m *cwmp.Inform) error {
	first, early := len(m.Events), ""
	for {
		local, more, err := s.child()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch local {
		case "EventCode":
			err = readEventCode(s, m)
		case "CommandKey":
			var key string
			if key, err = s.layoutText(); len(m.Events) > first {
				m.Events[len(m.Events)-1].CommandKey = key
			} else {
				early = key
			}
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
	if early != "" && len(m.Events) > first && m.Events[first].CommandKey == "" {
		m.Events[first].CommandKey = early
	}
	return nil
}

func readEventCode(s *scanner, m *cwmp.Inform) error {
	code, err := s.token()
	if err == nil && code != "" {
		m.Events = append(m.Events, cwmp.Event{Code: cwmp.EventCode(code)})
	}
	return err
}

// operationKind tells Install, Update or Uninstall from what was said, or if that
// is none of them from the arguments that only one of them has (TR-069 A.4.1.10).
func operationKind(said string, op *cwmp.DUOperation) string {
	switch said {
	case operationInstall, operationUpdate, operationUninstall:
		return said
	}
	switch {
	case op.URL == "" && op.Username == "" && op.Password == "":
		return operationUninstall
	case op.Version != "" || op.URL == "":
		return operationUpdate
	}
	return operationInstall
}

// cutTail reports whether err is the end of a message that had its RPC whole:
// CPE that count Content-Length in characters lose the last few bytes.
func (s *scanner) cutTail(err error) bool { return errors.Is(err, errTruncated) }
