package bulk

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// collectionTime is the name of the time of collection.
const collectionTime = "CollectionTime"

// json writes {"Report":[{…},…]}, each report's parameters by items.
func (f Format) json(reports []Report, most int, items func([]byte, []Item) []byte) []byte {
	b := append(make([]byte, 0, 4096), `{"Report":[`...)
	for i := range reports {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if f.Stamp != NoStamp {
			b = appendString(b, collectionTime)
			b = append(b, ':')
			if f.Stamp == ISO8601 {
				b = append(f.Stamp.appendTime(append(b, '"'), reports[i].Time), '"')
			} else {
				b = f.Stamp.appendTime(b, reports[i].Time)
			}
			if len(reports[i].Items) > 0 {
				b = append(b, ',')
			}
		}
		b = append(items(b, reports[i].Items), '}')
		if len(b) > most {
			return b
		}
	}
	return append(b, `]}`...)
}

// appendPairs writes parameters by their whole names.
func appendPairs(b []byte, items []Item) []byte {
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, items[i].Name), ':')
		b = appendValue(b, &items[i])
	}
	return b
}

// appendValue writes a value by its type ("Translating Data Types"). What a
// device gives as a value of its type and is none is a string.
func appendValue(b []byte, it *Item) []byte {
	switch it.Type {
	case dm.TypeBoolean:
		switch it.Value {
		case "true", "1":
			return append(b, "true"...)
		case "false", "0":
			return append(b, "false"...)
		}
	case dm.TypeInt, dm.TypeLong:
		if n, err := strconv.ParseInt(it.Value, 10, 64); err == nil {
			return strconv.AppendInt(b, n, 10)
		}
	case dm.TypeUnsignedInt, dm.TypeUnsignedLong:
		if n, err := strconv.ParseUint(it.Value, 10, 64); err == nil {
			return strconv.AppendUint(b, n, 10)
		}
	case dm.TypeDecimal:
		if n, err := strconv.ParseFloat(it.Value, 64); err == nil && !math.IsInf(n, 0) && !math.IsNaN(n) {
			return strconv.AppendFloat(b, n, 'f', -1, 64)
		}
	}
	return appendString(b, it.Value)
}

// appendString writes a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		c := s[i]
		plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\'
	}
	if plain {
		return append(append(append(b, '"'), s...), '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		// Strings always marshal.
		panic(err)
	}
	return append(b, quoted...)
}

// branch is an object of the hierarchy. Its members keep the order in which they
// came.
type branch struct {
	members []member
	at      map[string]int // made when there are many
}

// member is a value or an object, by its name.
type member struct {
	name  string
	item  *Item
	below *branch
}

// manyMembers is the number from which a branch finds its members by a map.
const manyMembers = 16

func (o *branch) member(name string) *member {
	if o.at != nil {
		if i, there := o.at[name]; there {
			return &o.members[i]
		}
	} else {
		// Parameters come ordered by object: the last member is the most likely.
		for i := len(o.members) - 1; i >= 0; i-- {
			if o.members[i].name == name {
				return &o.members[i]
			}
		}
	}
	o.members = append(o.members, member{name: name})
	switch {
	case o.at != nil:
		o.at[name] = len(o.members) - 1
	case len(o.members) > manyMembers:
		o.at = make(map[string]int, 2*manyMembers)
		for i := range o.members {
			o.at[o.members[i].name] = i
		}
	}
	return &o.members[len(o.members)-1]
}

// maxLevels bounds the depth of the hierarchy, which a controller's names could
// make as deep as they are long; what goes deeper keeps its dots.
const maxLevels = 32

// put places an item. Where one name is both a value's and an object's, as
// controllers can have it, the value is in the object, under an empty name.
func (o *branch) put(it *Item) {
	rest := it.Name
	for range maxLevels {
		name, below, more := strings.Cut(rest, ".")
		if !more {
			break
		}
		m := o.member(name)
		if m.below == nil {
			m.below = &branch{}
			if m.item != nil {
				m.below.member("").item, m.item = m.item, nil
			}
		}
		o, rest = m.below, below
	}
	m := o.member(rest)
	if m.below != nil {
		m = m.below.member("")
	}
	m.item = it
}

func (o *branch) append(b []byte) []byte {
	for i := range o.members {
		if i > 0 {
			b = append(b, ',')
		}
		m := &o.members[i]
		b = append(appendString(b, m.name), ':')
		if m.below != nil {
			b = append(m.below.append(append(b, '{')), '}')
		} else {
			b = appendValue(b, m.item)
		}
	}
	return b
}

// appendHierarchy writes parameters as objects in objects.
func appendHierarchy(b []byte, items []Item) []byte {
	var root branch
	for i := range items {
		root.put(&items[i])
	}
	return root.append(b)
}
