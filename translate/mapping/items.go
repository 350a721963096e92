package mapping

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxItems bounds how many rows the items of one list become.
const maxItems = 16

// item reads which item of a list a value is: a number, or each in an object that
// has a row for each item.
func (r *reading) item(n *yaml.Node, p *param) {
	if n.Kind == yaml.ScalarNode && n.Value == "each" {
		p.eachItem = true
		return
	}
	number := r.number(n)
	if p.conv.item = int(number); float64(p.conv.item) != number || number < 1 {
		r.fail(n, "item: a whole number from 1 on is expected, or each")
	}
}

// each makes of an object with `each` one object for each item that its list can
// have.
func (r *reading) each(o *object, n *yaml.Node) []*object {
	if n == nil {
		for _, p := range o.params {
			if p.eachItem {
				r.problems = append(r.problems, problem{p.at, p.name + ": item: each goes with each in the object"})
			}
		}
		return []*object{o}
	}
	most := 0
	r.fields(n, map[string]func(*yaml.Node){
		"list": func(n *yaml.Node) { o.each = r.text(n) },
		"not":  func(n *yaml.Node) { o.noItems = r.texts(n) },
		"most": func(n *yaml.Node) { most = int(r.number(n)) },
	})
	if o.each == "" || most < 1 || most > maxItems {
		r.fail(n, "each: {list: Parameter, most: N} is wanted, with N from 1 to %d", maxItems)
		return nil
	}
	list := make([]*object, most)
	for i := range list {
		list[i] = o.forItem(i + 1)
	}
	return list
}

// forItem returns the object of one item.
func (o *object) forItem(item int) *object {
	copied := *o
	copied.item, copied.noCreate = item, true
	copied.params = make([]*param, len(o.params))
	for i, p := range o.params {
		own := *p
		if own.eachItem {
			own.conv.item = item
		}
		copied.params[i] = &own
	}
	return &copied
}

// itemsOf returns the items of a list, without those that are empty at its end.
func itemsOf(list string) []string {
	if strings.Trim(list, ", ") == "" {
		return nil
	}
	items := strings.Split(list, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	for len(items) > 0 && items[len(items)-1] == "" {
		items = items[:len(items)-1]
	}
	return items
}

// withItem returns a list in which one item, counted from 1, has another value. An
// item can be added at the end.
func withItem(list string, item int, value string) (string, error) {
	items := itemsOf(list)
	switch {
	case strings.Contains(value, ","):
		return "", fmt.Errorf("%q has a comma, which parts the items of a list on the CPE", value)
	case item <= len(items):
		items[item-1] = value
	case item == len(items)+1:
		items = append(items, value)
	default:
		return "", fmt.Errorf("it is item %d of a list that has %d on the CPE: the ones before it have to be set first", item, len(items))
	}
	return strings.Join(items, ","), nil
}
