package agent

import (
	"time"

	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// profile is an enabled row of Device.BulkData.Profile., compiled.
type profile struct {
	instance uint32
	owner    *controller // nil for the built-in controller
	protocol string
	interval time.Duration
	phase    time.Time // TimeReference; zero if it is unknown
	retained int       // NumberOfRetainedFailedReports
	format   bulk.Format
	include  []reported
	exclude  []path.Path

	upload      bulk.Upload // without Query, Format and Body
	query       []reported
	retry       bool
	minimumWait time.Duration
	multiplier  float64

	topic  string
	qos    byte
	retain bool
}

// reported is a Parameter or RequestURIParameter row with a Reference.
type reported struct {
	name string // "": the path
	path path.Path
}

// compileProfiles notes the profiles that report: enabled ones with something to
// report and an owner.
func (d *derived) compileProfiles(spec *localSpec, s *state) {
	class := spec.classAt(profileTable)
	rows := d.tables[rowKey{class: class}]
	if len(rows) == 0 || !s.bulkEnabled(spec) {
		return
	}
	owners := map[string]*controller{"": nil}
	for n, c := range d.byInstance {
		if c.enabled {
			owners[controllerPath(n)] = c
		}
	}
	d.profiles = map[uint32]*profile{}
	for _, n := range rows {
		k := rowKey{class, dm.Inst(n)}
		owner, known := owners[s.named(k, "Controller")]
		if s.named(k, "Enable") != "true" || !known {
			continue
		}
		p := s.profile(k)
		p.owner = owner
		parameters := spec.classAt(profileParameter)
		for _, row := range d.tables[rowKey{parameters, k.inst}] {
			rk := rowKey{parameters, k.inst.Append(row)}
			r, ok := s.reported(rk)
			switch {
			case !ok:
			case s.named(rk, "Exclude") == "true":
				p.exclude = append(p.exclude, r.path)
			default:
				p.include = append(p.include, r)
			}
		}
		query := spec.classAt(profileQuery)
		for _, row := range d.tables[rowKey{query, k.inst}] {
			if r, ok := s.reported(rowKey{query, k.inst.Append(row)}); ok {
				p.query = append(p.query, r)
			}
		}
		if len(p.include) > 0 {
			d.profiles[n] = p
		}
	}
}

func (s *state) reported(k rowKey) (reported, bool) {
	p, err := path.Parse(s.named(k, "Reference"))
	return reported{s.named(k, "Name"), p}, err == nil // not empty; it was checked when it was stored
}

// profile reads the parameters of a profile's own row.
func (s *state) profile(k rowKey) *profile {
	n := func(rel string) int64 { return number(s.named(k, rel)) }
	p := &profile{
		instance: k.inst.At(0), protocol: s.named(k, "Protocol"), retained: int(n("NumberOfRetainedFailedReports")),
		interval: time.Duration(n("ReportingInterval")) * time.Second,
		upload: bulk.Upload{
			URL: s.named(k, "HTTP.URL"), Method: s.named(k, "HTTP.Method"), Username: s.named(k, "HTTP.Username"),
			Password: s.named(k, "HTTP.Password"), Compression: s.named(k, "HTTP.Compression"), Date: s.named(k, "HTTP.UseDateHeader") == "true",
		},
		retry:       s.named(k, "HTTP.RetryEnable") == "true",
		minimumWait: time.Duration(n("HTTP.RetryMinimumWaitInterval")) * time.Second,
		multiplier:  float64(n("HTTP.RetryIntervalMultiplier")) / 1000,
		topic:       s.named(k, "MQTT.PublishTopic"), qos: byte(n("MQTT.PublishQoS")), retain: s.named(k, "MQTT.PublishRetain") == "true",
	}
	if t, err := time.Parse(time.RFC3339, s.named(k, "TimeReference")); err == nil && t.Year() > 1 {
		p.phase = t
	}
	p.format = bulk.Format{Encoding: bulk.JSON, Layout: bulk.Layout(s.named(k, "JSONEncoding.ReportFormat")), Stamp: bulk.Stamp(s.named(k, "JSONEncoding.ReportTimestamp"))}
	if s.named(k, "EncodingType") == string(bulk.CSV) {
		p.format = bulk.Format{Encoding: bulk.CSV, Layout: bulk.Layout(s.named(k, "CSVEncoding.ReportFormat")), Stamp: bulk.Stamp(s.named(k, "CSVEncoding.RowTimestamp"))}
		for rel, field := range map[string]*string{
			"FieldSeparator": &p.format.FieldSeparator, "RowSeparator": &p.format.RowSeparator, "EscapeCharacter": &p.format.Escape,
		} {
			// Checked when it was stored; what a later version stored separates nothing.
			*field, _ = bulk.Separator(s.named(k, "CSVEncoding."+rel))
		}
	}
	return p
}

// timed reports whether two states of a profile report at the same times.
func (p *profile) timed(q *profile) bool {
	return p.interval == q.interval && p.phase.Equal(q.phase)
}
