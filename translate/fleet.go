package translate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// The operator's view of the fleet: what `uspbridge device` and the console show.

// List calls fn for the records of devices whose endpoint id or identity
// contains filter, in the order of their keys, starting behind after; it ends
// when fn returns false.
func (b *Bridge) List(ctx context.Context, filter string, after cwmp.DeviceKey, fn func(*Record) bool) error {
	q := store.Query{Kind: store.Device}
	if after != "" {
		k := recordKey(after)
		q.After = &k
	}
	filter = strings.ToLower(filter)
	var failed error
	err := b.store.Scan(ctx, q, func(k store.Key, v []byte) bool {
		rec, err := decodeRecord(v)
		if err != nil {
			failed = fmt.Errorf("device %s: %w", k.Owner, err)
			return false
		}
		if filter != "" && !strings.Contains(strings.ToLower(string(rec.Endpoint)+" "+rec.ID.Manufacturer+" "+rec.Software), filter) {
			return true
		}
		return fn(rec)
	})
	return errors.Join(failed, err)
}

// Detail is one device in full.
type Detail struct {
	Record       Record // without its secrets
	Reachability string // in words
	NextInform   time.Time
	Mapping      string
	Profiles     []string // device profiles that are for it
	Coverage     mapping.Report
	Rows         int
}

// Show returns what is known of a device.
func (b *Bridge) Show(ctx context.Context, id usp.EndpointID) (Detail, error) {
	dev, err := b.byEndpoint(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	defer b.devices.release(dev)
	s := dev.state.Load()
	d := Detail{Record: *s.rec, Reachability: b.reachability(dev.key, s), NextInform: s.nextInform()}
	d.Record.Secret = nil
	d.Profiles = b.profile(s.rec).Names
	d.Record.Operations = shownOperations(s.rec.Operations)
	if s.program != nil {
		d.Mapping = s.program.Mappings()
		d.Coverage = mapping.Coverage(s.program, s.tree)
	}
	return d, nil
}

// shownOperations returns operations without their secrets.
func shownOperations(ops []*Operation) (shown []*Operation) {
	for _, op := range ops {
		copied := *op
		copied.Secret = nil
		shown = append(shown, &copied)
	}
	return shown
}

// Refresh reads a device's tree again.
func (b *Bridge) Refresh(ctx context.Context, id usp.EndpointID) error {
	dev, err := b.byEndpoint(ctx, id)
	if err != nil {
		return err
	}
	defer b.devices.release(dev)
	return b.refresh(ctx, dev)
}

// Forget removes a device and its agent. Should the CPE inform again, it is a
// new device: its instance numbers start anew.
func (b *Bridge) Forget(ctx context.Context, id usp.EndpointID) error {
	dev, err := b.byEndpoint(ctx, id)
	if err != nil {
		return err
	}
	if err := b.agents.Forget(ctx, id); err != nil {
		b.devices.release(dev)
		return err
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	var batch store.Batch
	for _, op := range dev.state.Load().rec.Operations {
		for _, name := range op.Grants {
			batch.Delete(grantKey(name))
		}
	}
	for _, k := range []store.Key{recordKey(dev.key), treeKey(dev.key), progressKey(dev.key), numbersKey(dev.key), endpointKey(id)} {
		batch.Delete(k)
	}
	if err := b.store.Commit(ctx, &batch); err != nil {
		b.devices.release(dev)
		return err
	}
	dev.gone = true
	b.devices.discard(dev)
	b.log.Info("device forgotten", "device", dev.key, "endpoint", id)
	return nil
}

// Explained is where a USP path lives on the CPE, or where controllers see a parameter
// of the CPE, which has no USPPath and is the only one of CWMPPaths.
type Explained struct {
	mapping.Explanation
	Age   time.Duration // of the cached value
	Error string        // why there is no value

	Homes []Explained // of a parameter of the CPE: what is read from it

	Profiles []string // of the device
	Learnt   []string // of the device, see Learnt.Describe
}

// Explain shows where a USP path, with instance numbers, lives on the CPE, how
// it is converted, and the values on both sides, but for secrets. Of a path that is
// the CPE's own alone it shows where controllers see that.
func (b *Bridge) Explain(ctx context.Context, id usp.EndpointID, path string) (Explained, error) {
	dev, err := b.byEndpoint(ctx, id)
	if err != nil {
		return Explained{}, err
	}
	defer b.devices.release(dev)
	s := dev.state.Load()
	if s.program == nil {
		return Explained{}, errNotDiscovered
	}
	var out Explained
	if ref, ok := lookup(s.program.Schema, path); ok {
		out = b.explain(s, ref)
	} else if out, ok = b.explainSource(s, cwmp.Path(path)); !ok {
		return Explained{}, usp.Errorf(usp.ErrInvalidPath, path,
			"no such element in the data model of %s, nor a parameter of the CPE; `uspbridge supported` lists what there is", id)
	}
	out.Profiles, out.Learnt = b.profile(s.rec).Names, s.rec.Describe()
	return out, nil
}

func (b *Bridge) explain(s *snapshot, ref dm.Ref) Explained {
	out := Explained{Explanation: s.See(b.now).Explain(ref)}
	if _, at, state := s.See(b.now).Read(ref); state == mapping.Known {
		out.Age = b.now().Sub(time.Unix(int64(at), 0))
	}
	if v := b.peek(s, ref); v.Err != nil {
		out.Error = v.Err.Error()
	} else {
		out.USPValue = v.Text
	}
	if ref.Node.Secured {
		out.mask()
	}
	return out
}

func (b *Bridge) explainSource(s *snapshot, path cwmp.Path) (out Explained, ok bool) {
	value, refs, ok := s.See(b.now).Homes(path)
	if !ok {
		return Explained{}, false
	}
	out.CWMPPaths, out.CWMPValues = []string{string(path)}, []string{value}
	secret := path.NamesSecret()
	for _, ref := range refs {
		out.Homes = append(out.Homes, b.explain(s, ref))
		secret = secret || ref.Node.Secured
	}
	if secret {
		out.mask()
	}
	return out, true
}

// masked stands for a secret value, as in audit records.
const masked = "***"

// mask hides the values: an explanation is for everybody who runs the bridge.
func (e *Explained) mask() {
	if e.USPValue != "" {
		e.USPValue = masked
	}
	values := make([]string, len(e.CWMPValues))
	for i, v := range e.CWMPValues {
		if v != "" {
			values[i] = masked
		}
	}
	e.CWMPValues = values
}

// lookup finds a concrete path, such as Device.WiFi.SSID.1.SSID, in a schema.
func lookup(schema *dm.Schema, path string) (dm.Ref, bool) {
	ref := dm.Ref{Node: schema.Root}
	for seg := range strings.SplitSeq(strings.TrimSuffix(path, "."), ".") {
		if ref.IsTable() {
			n, ok := parseNumber(seg)
			if !ok {
				return dm.Ref{}, false
			}
			ref.Inst = ref.Inst.Append(n)
			continue
		}
		if ref.Node = ref.Node.Child(seg); ref.Node == nil {
			return dm.Ref{}, false
		}
	}
	return ref, true
}

func parseNumber(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n > 0
}
