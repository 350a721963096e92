package bulk

import (
	"strings"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// timestampColumn is the header of the column with the time of collection.
const timestampColumn = "ReportTimestamp"

// typeNames are the base types of TR-106 (R-BULK.13).
var typeNames = [...]string{
	dm.TypeUnknown: "string", dm.TypeBase64: "base64", dm.TypeBoolean: "boolean", dm.TypeDateTime: "dateTime",
	dm.TypeDecimal: "decimal", dm.TypeHexBinary: "hexBinary", dm.TypeInt: "int", dm.TypeLong: "long",
	dm.TypeString: "string", dm.TypeUnsignedInt: "unsignedInt", dm.TypeUnsignedLong: "unsignedLong",
}

func typeName(t dm.Type) string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return typeNames[dm.TypeUnknown]
}

// sheet is a CSV document that is being written.
type sheet struct {
	Format
	b       []byte
	started bool // the present row has a field
}

// field writes a field, inside escape characters if it has a separator, an
// escape character or an end of line in it (RFC 4180 2.6, 2.7).
func (s *sheet) field(text string) {
	if s.started {
		s.b = append(s.b, s.FieldSeparator...)
	}
	s.started = true
	special := s.Escape != "" && (strings.ContainsAny(text, "\r\n") || strings.Contains(text, s.Escape) ||
		contains(text, s.FieldSeparator) || contains(text, s.RowSeparator))
	if !special {
		s.b = append(s.b, text...)
		return
	}
	s.b = append(s.b, s.Escape...)
	s.b = append(s.b, strings.ReplaceAll(text, s.Escape, s.Escape+s.Escape)...)
	s.b = append(s.b, s.Escape...)
}

func contains(text, separator string) bool {
	return separator != "" && strings.Contains(text, separator)
}

func (s *sheet) end() { s.b, s.started = append(s.b, s.RowSeparator...), false }

// stamp writes the column of the time of collection, if there is one.
func (s *sheet) stamp(r *Report) {
	if s.Stamp != NoStamp {
		s.field(string(s.Stamp.appendTime(nil, r.Time)))
	}
}

func (f Format) sheet() *sheet {
	s := &sheet{Format: f}
	if f.Stamp != NoStamp {
		s.field(timestampColumn)
	}
	return s
}

// rows writes a row for each parameter (R-BULK.12).
func (f Format) rows(reports []Report, most int) []byte {
	s := f.sheet()
	for _, name := range []string{"ParameterName", "ParameterValue", "ParameterType"} {
		s.field(name)
	}
	s.end()
	for i := range reports {
		for _, it := range reports[i].Items {
			s.stamp(&reports[i])
			s.field(it.Name)
			s.field(it.Value)
			s.field(typeName(it.Type))
			if s.end(); len(s.b) > most {
				return s.b
			}
		}
	}
	return s.b
}

// columns writes a row for each report. Rows come and go between reports, so the
// columns are those of all of them; what a report does not have stays empty.
func (f Format) columns(reports []Report, most int) []byte {
	s := f.sheet()
	at := map[string]int{}
	for i := range reports {
		for _, it := range reports[i].Items {
			if _, there := at[it.Name]; !there {
				at[it.Name] = len(at)
				s.field(it.Name)
			}
		}
	}
	s.end()
	values := make([]string, len(at))
	for i := range reports {
		clear(values)
		for _, it := range reports[i].Items {
			values[at[it.Name]] = it.Value
		}
		s.stamp(&reports[i])
		for _, v := range values {
			s.field(v)
		}
		if s.end(); len(s.b) > most {
			return s.b
		}
	}
	return s.b
}
