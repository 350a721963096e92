package cpesim

import (
	"cmp"
	"encoding/xml"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/capture"
)

// A CPE with a Recording answers a request that was captured as it was answered
// then, word for word, with the session's own put in: cwmp:ID, identity, what was
// changed since. All other requests are answered from the tree.

// replaying completes the configuration of a CPE that is played back.
func (config Config) replaying() Config {
	r := config.Replay
	config.Model = cmp.Or(config.Model, r.model)
	config.Profile = cmp.Or(config.Profile, r.profile)
	config.Version = cmp.Or(config.Version, r.Version)
	id := &config.Identity
	id.Manufacturer = cmp.Or(id.Manufacturer, r.Identity.Manufacturer)
	id.OUI = cmp.Or(id.OUI, r.Identity.OUI)
	id.ProductClass = cmp.Or(id.ProductClass, r.Identity.ProductClass)
	id.SerialNumber = cmp.Or(id.SerialNumber, r.Identity.SerialNumber)
	return config
}

// recall returns the recorded answer to a request, nil if there is none: the n-th
// time the n-th, and from then on the last one. c.mu is held.
func (c *CPE) recall(request cwmp.Message) *answer {
	if c.replay == nil {
		return nil
	}
	key := requestKey(request)
	answers := c.replay.answers[key]
	if len(answers) == 0 {
		return nil
	}
	if c.recalled == nil {
		c.recalled = map[string]int{}
	}
	n := min(c.recalled[key], len(answers)-1)
	c.recalled[key] = n + 1
	return &answers[n]
}

// fromRecord answers a request as the recorded CPE did. ok is false if what it said
// does not hold any more. c.mu is held.
func (c *CPE) fromRecord(request cwmp.Message, a *answer) (fault *cwmp.Fault, ok bool) {
	if f, refused := a.message.(*cwmp.Fault); refused {
		return f, true
	}
	switch m := request.(type) {
	case *cwmp.GetRPCMethods:
		return nil, true
	case *cwmp.GetParameterNames:
		return nil, !c.tree.reshaped(m.Path)
	case *cwmp.GetParameterValues:
		return nil, !slices.ContainsFunc(m.Names, c.tree.reshaped)
	}
	return nil, false
}

// prepare makes the change that comes do what it did when it was recorded: a new
// row gets the number that it had then, if that is free. c.mu is held.
func (c *CPE) prepare(request cwmp.Message, a *answer) {
	add, ok := request.(*cwmp.AddObject)
	then, done := a.message.(*cwmp.AddObjectResponse)
	if !ok || !done || then.InstanceNumber == 0 {
		return
	}
	row := add.Object + cwmp.Path(strconv.FormatUint(uint64(then.InstanceNumber), 10)) + "."
	if c.tree.find(row) != nil || then.InstanceNumber < c.tree.next[add.Object] {
		return
	}
	if c.tree.next == nil {
		c.tree.next = map[cwmp.Path]uint32{}
	}
	c.tree.next[c.tree.ownName(add.Object)] = then.InstanceNumber
}

// sameAnswer reports whether a recorded answer says what the tree's does; of a
// read, whether it says it of the same names, since values are brought up to date.
func sameAnswer(a *answer, response cwmp.Message, fault *cwmp.Fault) bool {
	if fault != nil {
		return false
	}
	if then := namesIn(a.message); then != nil {
		return slices.Equal(then, namesIn(response))
	}
	return reflect.DeepEqual(a.message, response)
}

// namesIn returns what a read found, sorted; nil of any other answer.
func namesIn(m cwmp.Message) (names []cwmp.Path) {
	switch m := m.(type) {
	case *cwmp.GetParameterNamesResponse:
		for _, p := range m.Parameters {
			names = append(names, p.Name)
		}
	case *cwmp.GetParameterValuesResponse:
		for _, v := range m.Values {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return names
}

// reshaped reports whether rows came or went at or below a path since the tree was
// recorded, or above it.
func (t *tree) reshaped(path cwmp.Path) bool {
	for _, row := range t.added {
		if related(row, path) {
			return true
		}
	}
	for row := range t.deleted {
		if related(row, path) {
			return true
		}
	}
	return false
}

// replayed returns a recorded answer with what has changed since put in. c.mu is
// held.
func (c *CPE) replayed(a *answer, id string) []byte {
	_, values := a.message.(*cwmp.GetParameterValuesResponse)
	body, err := capture.Rewrite(a.body, func(t capture.Text) (string, bool) {
		switch {
		case t.Element == "ID" && t.In == "Header":
			return escape(id), a.echoes
		case values && t.Parameter != "":
			return c.present(t)
		}
		return "", false
	})
	if err != nil {
		return a.body // it was read as an envelope: only its ID is an old one
	}
	return body
}

// present is what a recorded value has to be now, ok false for what it was. A
// secret that was masked reads empty. c.mu is held.
func (c *CPE) present(then capture.Text) (text string, ok bool) {
	name := cwmp.Path(then.Parameter)
	if n := c.tree.find(name); n != nil && !n.object {
		if _, changed := c.tree.values[name]; changed || c.differs(n.role) {
			return escape(c.wire(name, n).Text), true
		}
	}
	return "", then.Text == capture.Mask
}

// differs tells the parameters that are this CPE's and not the recorded one's.
func (c *CPE) differs(r role) bool {
	then, now := c.replay.Identity, c.identity
	switch r {
	case roleManufacturer:
		return then.Manufacturer != now.Manufacturer
	case roleOUI:
		return then.OUI != now.OUI
	case roleProductClass:
		return then.ProductClass != now.ProductClass
	case roleSerialNumber:
		return then.SerialNumber != now.SerialNumber
	case roleACSURL, roleACSUsername, roleACSPassword, roleConnectionRequestURL:
		return true
	case roleInformInterval:
		return c.factory.PeriodicInform > 0
	}
	return false
}

// recordedInform returns the Inform as the recorded CPE wrote one: that with the
// same events if there is one, else the first with these events in it. It is nil
// if there is none that could report what has changed. c.mu is held.
func (c *CPE) recordedInform(m *cwmp.Inform, id string, changed []cwmp.Path) []byte {
	if c.replay == nil || len(c.replay.informs) == 0 {
		return nil
	}
	best := slices.IndexFunc(c.replay.informs, func(r recordedInform) bool { return sameEvents(r.message.Events, m.Events) })
	r := c.replay.informs[max(best, 0)]
	for _, name := range changed {
		if !slices.ContainsFunc(r.message.ParameterList, func(p cwmp.ParameterValue) bool { return p.Name == name }) {
			return nil
		}
	}
	body, err := capture.Rewrite(r.body, func(t capture.Text) (string, bool) { return c.informText(t, m, r.message, id) })
	if err == nil && best < 0 {
		body, err = capture.RewriteList(body, "Event", eventStructs(m.Events), len(m.Events))
	}
	if err != nil {
		return nil
	}
	return body
}

// informText is what one text of a recorded Inform has to be now.
func (c *CPE) informText(t capture.Text, m, then *cwmp.Inform, id string) (string, bool) {
	switch {
	case t.In == "Header" && t.Element == "ID":
		return escape(id), t.Text != ""
	case t.In == "DeviceId" && t.Element == "SerialNumber":
		return escape(m.DeviceID.SerialNumber), m.DeviceID.SerialNumber != then.DeviceID.SerialNumber
	case t.In == "DeviceId" && t.Element == "OUI":
		return escape(m.DeviceID.OUI), m.DeviceID.OUI != then.DeviceID.OUI
	case t.In == "DeviceId" && t.Element == "ProductClass":
		return escape(m.DeviceID.ProductClass), m.DeviceID.ProductClass != then.DeviceID.ProductClass
	case t.Element == "CurrentTime" && t.In == "Inform":
		return sameLayout(t.Text, c.now())
	case t.Element == "RetryCount" && t.In == "Inform":
		return strconv.Itoa(m.RetryCount), m.RetryCount > 0
	case t.Parameter != "":
		return c.present(t)
	}
	return "", false
}

// sameEvents reports whether two lists have the same events with the same
// CommandKeys, whatever their order.
func sameEvents(a, b []cwmp.Event) bool {
	if len(a) != len(b) {
		return false
	}
	for _, e := range a {
		if !slices.Contains(b, e) {
			return false
		}
	}
	return true
}

func eventStructs(events []cwmp.Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("<EventStruct><EventCode>" + escape(string(e.Code)) + "</EventCode><CommandKey>" + escape(e.CommandKey) + "</CommandKey></EventStruct>")
	}
	return b.String()
}

// clockLayouts are the forms of time that are brought up to date. A clock that is
// not set, or writes anything else, is left as it is.
var clockLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05-0700"}

// firstSetYear is the year from which on a CPE's clock is taken to be set.
const firstSetYear = 2015

// sameLayout writes a time as another was written.
func sameLayout(text string, now time.Time) (string, bool) {
	for _, layout := range clockLayouts {
		if then, err := time.Parse(layout, text); err == nil {
			return now.In(then.Location()).Format(layout), then.Year() >= firstSetYear
		}
	}
	return "", false
}

func escape(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		return "" // a strings.Builder takes everything
	}
	return b.String()
}
