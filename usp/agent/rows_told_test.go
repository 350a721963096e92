package agent

import (
	"context"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// telling is a device that tells of the rows that it adds and deletes.
type telling struct {
	*mapModel
	b *bench
}

func (m telling) Model(ctx context.Context, id usp.EndpointID) (Model, Identity, error) {
	_, identity, err := m.b.Model(ctx, id)
	return m, identity, err
}

func (m telling) Add(ctx context.Context, rows []NewRow, allowPartial bool) []AddResult {
	res := m.mapModel.Add(ctx, rows, allowPartial)
	for _, r := range res {
		if r.Err == nil {
			m.b.raise(Event{Kind: ObjectCreated, Ref: r.Row})
		}
	}
	return res
}

func (m telling) Delete(ctx context.Context, rows []dm.Ref, allowPartial bool) []error {
	res := m.mapModel.Delete(ctx, rows, allowPartial)
	for i, err := range res {
		if err == nil {
			m.b.raise(Event{Kind: ObjectDeleted, Ref: rows[i]})
		}
	}
	return res
}

// A row is told once, by the Model if it does that, and anew when it comes or goes
// again.
func TestRowsAreToldOnce(t *testing.T) {
	for name, tells := range map[string]bool{"by the agent": false, "by the Model": true} {
		t.Run(name, func(t *testing.T) {
			var m telling
			b := newBench(t, func(c *Config) {
				m = telling{c.Devices.(*bench).model, c.Devices.(*bench)}
				if tells {
					c.Devices = m
				}
			})
			b.subscribe(primary, "c", "ObjectCreation", "Device.WiFi.SSID.")
			b.subscribe(primary, "d", "ObjectDeletion", "Device.WiFi.SSID.")
			for range 2 {
				row := b.added(primary, create("Device.WiFi.SSID."))
				if n, _ := b.notify(primary); n.GetObjCreation().GetObjPath() != row {
					t.Errorf("added %s, told %v", row, n)
				}
				b.silence()
				b.ask(primary, deleteReq(false, row))
				if n, _ := b.notify(primary); n.GetObjDeletion().GetObjPath() != row {
					t.Errorf("deleted %s, told %v", row, n)
				}
				b.silence()
			}
		})
	}
}
