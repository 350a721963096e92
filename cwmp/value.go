package cwmp

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a parameter value on the wire (TR-106 3.2).
type Type uint8

// The types TR-106 gives to parameters. TypeUnknown is a value whose xsi:type
// was missing or could not be made out; it is handled as a string.
const (
	TypeUnknown Type = iota
	TypeString
	TypeInt
	TypeUnsignedInt
	TypeLong
	TypeUnsignedLong
	TypeBoolean
	TypeDateTime
	TypeBase64
	TypeHexBinary
	TypeDecimal
)

var typeNames = [...]string{"", "string", "int", "unsignedInt", "long", "unsignedLong", "boolean", "dateTime", "base64", "hexBinary", "decimal"}

// XSD returns the local name of the XML Schema type, "string" for TypeUnknown.
func (t Type) XSD() string {
	if t == TypeUnknown || int(t) >= len(typeNames) {
		return "string"
	}
	return typeNames[t]
}

func (t Type) String() string { return t.XSD() }

// ParseType reads an xsi:type as CPE write it: with or without a prefix, with a
// length in brackets, in any case, and with the misspellings seen in the field.
func ParseType(s string) Type {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		s = s[i+1:]
	}
	if i := strings.IndexAny(s, "([ "); i >= 0 {
		s = s[:i]
	}
	for i, n := range typeNames {
		if i > 0 && n == s {
			return Type(i)
		}
	}
	switch strings.ToLower(s) {
	case "string", "normalizedstring", "token":
		return TypeString
	case "int", "integer":
		return TypeInt
	case "unsignedint", "unsigendint", "uint":
		return TypeUnsignedInt
	case "long":
		return TypeLong
	case "unsignedlong":
		return TypeUnsignedLong
	case "boolean", "bool":
		return TypeBoolean
	case "datetime":
		return TypeDateTime
	case "base64", "base64binary":
		return TypeBase64
	case "hexbinary":
		return TypeHexBinary
	case "decimal", "double", "float":
		return TypeDecimal
	}
	return TypeUnknown
}

// Value is a typed parameter value. Text is as on the wire, XML-unescaped.
type Value struct {
	Type Type
	Text string
}

// ParseBoolean reads a boolean as CPE write it: 0 and 1, any other number for
// true, and words in any case. ok is false for what is none of these.
func ParseBoolean(s string) (v, ok bool) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on", "enabled", "enable", "accept":
		return true, true
	case "0", "false", "no", "off", "disabled", "disable", "reject":
		return false, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // beyond int64 n is the nearest number
		return false, false
	}
	return n != 0, true
}

// timeLayouts are the ways in which CPE write date and time; fractions of a
// second are read with each of them.
var timeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05", // without zone: read as UTC, see ParseTime
	"2006-01-02 15:04:05",
	time.UnixDate,
	time.ANSIC,
	time.RFC1123,
	time.RFC1123Z,
}

// ParseTime reads a dateTime (TR-106 3.2) as CPE write it and returns it in UTC.
// Without a zone it is the CPE's local time, whose zone is not known: it is read as
// UTC. ok is false for what is no time, such as the year 0000; the year 1 is TR-106's
// for a time that is not known, or is relative to the CPE's boot.
func ParseTime(s string) (t time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "0000-") {
		return time.Time{}, false
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// ParameterValue is ParameterValueStruct: one parameter with its value.
type ParameterValue struct {
	Name  Path
	Value Value
}

// ParameterInfo is ParameterInfoStruct: a name found by GetParameterNames.
// Writable of an object means that rows can be added to it or it be deleted.
type ParameterInfo struct {
	Name     Path
	Writable bool
}

// Notification is a notification attribute (TR-069 A.3.2.4).
type Notification int8

// The notification attribute's values used; 3 to 6 are lightweight.
const (
	NotificationOff     Notification = 0
	NotificationPassive Notification = 1
	NotificationActive  Notification = 2
)

// ParameterAttributes is ParameterAttributeStruct.
type ParameterAttributes struct {
	Name         Path
	Notification Notification
	AccessList   []string
}

// SetParameterAttributesEntry is SetParameterAttributesStruct.
type SetParameterAttributesEntry struct {
	Name               Path
	NotificationChange bool
	Notification       Notification
	AccessListChange   bool
	AccessList         []string
}
