package bulk

import (
	"errors"
	"fmt"
	"html"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// Item is a parameter in a report, by the name that the report gives it.
type Item struct {
	Name  string  `json:"n"`
	Value string  `json:"v"`
	Type  dm.Type `json:"t"`
}

// Report is what was collected at one time. Names are unique.
type Report struct {
	Time  time.Time `json:"time"`
	Items []Item    `json:"items"`
}

// Encoding is how reports are written, as Profile.{i}.EncodingType has it.
type Encoding string

// The encodings.
const (
	CSV  Encoding = "CSV"
	JSON Encoding = "JSON"
)

// Layout is the arrangement of a report, as …Encoding.ReportFormat has it.
type Layout string

// The layouts: the first two are of CSV, the others of JSON.
const (
	ParameterPerRow    Layout = "ParameterPerRow"
	ParameterPerColumn Layout = "ParameterPerColumn"
	ObjectHierarchy    Layout = "ObjectHierarchy"
	NameValuePair      Layout = "NameValuePair"
)

// Stamp is how the time of collection is written into a report.
type Stamp string

// The stamps.
const (
	UnixEpoch Stamp = "Unix-Epoch"
	ISO8601   Stamp = "ISO-8601"
	NoStamp   Stamp = "None"
)

// Format is how the reports of a profile are encoded. The separators are those
// of CSV.
type Format struct {
	Encoding Encoding
	Layout   Layout
	Stamp    Stamp

	FieldSeparator string
	RowSeparator   string
	Escape         string // around a field that has a separator in it; "": none
}

// ErrTooLarge is returned for reports that are larger than allowed when encoded.
var ErrTooLarge = errors.New("the report is too large")

// ContentType is the media type of encoded reports (R-BULK.7, R-BULK.11).
func (f Format) ContentType() string {
	if f.Encoding == CSV {
		return "text/csv; charset=UTF-8; header=present"
	}
	return "application/json; charset=UTF-8"
}

// Encode writes reports, the oldest first, as one document of at most so many
// bytes. The failure is ErrTooLarge.
func (f Format) Encode(reports []Report, most int) ([]byte, error) {
	var b []byte
	switch {
	case f.Encoding == CSV && f.Layout == ParameterPerRow:
		b = f.rows(reports, most)
	case f.Encoding == CSV:
		b = f.columns(reports, most)
	case f.Layout == NameValuePair:
		b = f.json(reports, most, appendPairs)
	default:
		b = f.json(reports, most, appendHierarchy)
	}
	if len(b) > most {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)
	}
	return b, nil
}

// appendTime writes a time of collection.
func (s Stamp) appendTime(b []byte, t time.Time) []byte {
	if s == ISO8601 {
		return t.UTC().AppendFormat(b, time.RFC3339)
	}
	return strconv.AppendInt(b, t.Unix(), 10)
}

// maxSeparator bounds a separator, in bytes as it is configured.
const maxSeparator = 16

// Separator reads a separator or escape character of Device.BulkData.: the
// characters themselves, or, as controllers take them from the text of TR-181,
// XML character references ("&#13;&#10;", "&quot;").
func Separator(text string) (string, error) {
	if len(text) > maxSeparator {
		return "", fmt.Errorf("%d bytes: at most %d are allowed", len(text), maxSeparator)
	}
	s := html.UnescapeString(text)
	for _, r := range s {
		if r == utf8.RuneError || r == 0 {
			return "", fmt.Errorf("%q has no character in it that can separate", text)
		}
	}
	return s, nil
}
