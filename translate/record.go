package translate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// Stage is where a device stands in a staged migration.
type Stage string

// StageBridged is a device whose ACS the bridge is.
const StageBridged Stage = "bridged"

// Record is what the store keeps of a device beside its tree and its instance
// numbers: identity, state, and what has still to be done to it.
type Record struct {
	ID           cwmp.DeviceID    `json:"id"`
	Endpoint     usp.EndpointID   `json:"endpoint"`
	Stage        Stage            `json:"stage"`
	CWMPVersion  string           `json:"cwmp_version,omitempty"` // of the CPE's namespace
	Root         cwmp.Path        `json:"root"`
	DataModel    string           `json:"data_model,omitempty"` // RootDataModelVersion or DeviceSummary as the CPE has it
	Hardware     string           `json:"hardware,omitempty"`
	Software     string           `json:"software,omitempty"`
	Template     string           `json:"template,omitempty"` // "" until discovered
	FirstInform  time.Time        `json:"first_inform"`
	LastInform   time.Time        `json:"last_inform"`
	LastEvents   []cwmp.EventCode `json:"last_events,omitempty"`
	LastSession  time.Time        `json:"last_session,omitzero"` // end of the last orderly one
	Discovered   time.Time        `json:"discovered,omitzero"`
	DiscoveredSW string           `json:"discovered_software,omitempty"` // software version the tree was read from
	Rediscover   bool             `json:"rediscover,omitempty"`          // the tree must be read again
	Unannounced  bool             `json:"unannounced,omitempty"`         // it is discovered, and controllers have not been told of it

	// Connection requests.
	ConnectionURL   string               `json:"connection_url,omitempty"`
	Username        string               `json:"cr_username,omitempty"`
	Secret          []byte               `json:"cr_secret,omitempty"`        // the password, sealed for recordKey
	PlainPassword   string               `json:"cr_password,omitempty"`      // as records had it before; sealed when read, never written
	Provisioned     string               `json:"provisioned,omitempty"`      // fingerprint of the settings that the CPE has been given
	RefusedSettings map[cwmp.Path]string `json:"refused_settings,omitempty"` // of the management server, and why
	RefusedBy       string               `json:"refused_by,omitempty"`       // the firmware that refused them
	WakeError       string               `json:"wake_error,omitempty"`       // why the last connection request failed
	WakeTime        time.Time            `json:"wake_time,omitzero"`
	WokenBy         WakeWay              `json:"woken_by,omitempty"` // by which the CPE came last
	Remote          string               `json:"remote,omitempty"`   // IP address that it informs from
	Binding         string               `json:"binding,omitempty"`  // of its NAT: address and port that its STUN client has proven
	UDPTime         int64                `json:"udp_time,omitempty"` // of the last UDP Connection Request, unix seconds
	Notified        notified             `json:"notified,omitzero"`  // the last lightweight notification

	Learnt // what the bridge has found out of the CPE by itself

	SecondRoot    cwmp.Path `json:"second_root,omitempty"`   // another root that its Inform has shown
	LastBoot      time.Time `json:"last_boot,omitzero"`      // when it last informed with 1 BOOT
	LastBootstrap time.Time `json:"last_bootstrap,omitzero"` // with 0 BOOTSTRAP

	// A discovery that has not come to its end.
	DiscoveryPartial  bool      `json:"discovery_partial,omitempty"`  // what it got is kept, see progress
	DiscoveryFailures int       `json:"discovery_failures,omitempty"` // attempts in succession that came no further
	DiscoveryError    string    `json:"discovery_error,omitempty"`    // why the last one ended
	DiscoveryNext     time.Time `json:"discovery_next,omitzero"`      // when the next may be made

	// Watched are the CPE parameters whose notification attribute somebody
	// needs; Attributes those on which it is set now; Denied those of which the
	// CPE notifies no changes: the bridge looks for them, see look.
	Watched    []cwmp.Path `json:"watched,omitempty"`
	Attributes []cwmp.Path `json:"attributes,omitempty"`
	Denied     []cwmp.Path `json:"denied,omitempty"`
	Passive    []cwmp.Path `json:"passive,omitempty"` // of Attributes, those that are notified with the next Inform only

	// Denied are polled, see poll.
	NextPoll     time.Time `json:"next_poll,omitzero"`
	PollTurn     bool      `json:"poll_turn,omitempty"`     // NextPoll is a turn that was given
	PollFailures int       `json:"poll_failures,omitempty"` // in succession

	// Miscounts are tables whose count the CPE has wrong, with that count.
	Miscounts map[cwmp.Path]string `json:"miscounts,omitempty"`

	// Orphans are objects on the CPE that failed Adds have left.
	Orphans []cwmp.Path `json:"orphans,omitempty"`

	// Adds are AddObjects whose row is not known or not finished yet.
	Adds []PendingAdd `json:"adds,omitempty"`

	Reboot *PendingReboot `json:"reboot,omitempty"`

	// Operations are commands that the CPE carries out beyond a session. Heard
	// are the newest reports of the CPE that were dealt with, and the keys of
	// operations that have ended, so that what it says twice is taken once. Due
	// is the device's entry in the index of what is due, unix milliseconds.
	Operations []*Operation `json:"operations,omitempty"`
	Heard      []string     `json:"heard,omitempty"`
	Due        int64        `json:"due,omitempty"`

	Firmware     Firmware             `json:"firmware,omitzero"`       // images of a CPE that has no table of them
	ImageChanges []ImageChange        `json:"image_changes,omitempty"` // oldest first
	Arguments    map[cwmp.Path]string `json:"arguments,omitempty"`     // of diagnostics: the values that the CPE had by itself
}

// PendingReboot remembers who asked for the reboot that the next Boot! tells of.
type PendingReboot struct {
	CWMPKey      string `json:"cwmp_key"`              // CommandKey given to the CPE
	CommandKey   string `json:"command_key,omitempty"` // of the USP command
	Cause        string `json:"cause"`                 // as Boot! tells it
	Reason       string `json:"reason,omitempty"`
	FactoryReset bool   `json:"factory_reset,omitempty"`

	Asked time.Time `json:"asked,omitzero"`
	Sends int       `json:"sends,omitempty"` // how often the RPC was sent
	// Owed is set when the controller was told of success though the CPE's
	// answer was lost: if the CPE comes without having rebooted, it is asked
	// once more.
	Owed bool `json:"owed,omitempty"`
}

// PendingAdd is an AddObject that was sent, or is about to be.
type PendingAdd struct {
	ID     string    `json:"id"`
	Table  cwmp.Path `json:"table"`
	Before []uint32  `json:"before,omitempty"` // the table's rows on the CPE before it was sent
	Number uint32    `json:"number,omitempty"` // of the new row; 0 until the CPE has answered
	Row    string    `json:"row,omitempty"`    // the table as controllers see it
	Alias  string    `json:"alias,omitempty"`  // that the controller has given the row
}

// Key returns the device's key.
func (r *Record) Key() cwmp.DeviceKey { return r.ID.Key() }

// clone returns a copy whose fields can be changed; slices and maps are replaced
// by writers, never changed in place.
func (r *Record) clone() *Record {
	c := *r
	return &c
}

// moment reports whether the record differs from an earlier one only in when the
// CPE was here. A boot is more: it is known by its events when it is told again.
func (r *Record) moment(before *Record) bool {
	if slices.Contains(r.LastEvents, cwmp.EventBoot) {
		return false
	}
	a, b := *r, *before
	for _, x := range []*Record{&a, &b} {
		x.LastInform, x.LastSession, x.LastEvents = time.Time{}, time.Time{}, nil
	}
	return reflect.DeepEqual(a, b)
}

func (r *Record) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		// Every field is a string, a number, a time or a list of such; times
		// come from the clock and lie in JSON's range.
		panic(fmt.Sprintf("device record of %s: %v", r.Key(), err))
	}
	return b
}

func decodeRecord(b []byte) (*Record, error) {
	r := new(Record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("device record: %w", err)
	}
	return r, nil
}

func recordKey(key cwmp.DeviceKey) store.Key {
	return store.Key{Kind: store.Device, Owner: string(key)}
}

func treeKey(key cwmp.DeviceKey) store.Key { return store.Key{Kind: store.Tree, Owner: string(key)} }

func numbersKey(key cwmp.DeviceKey) store.Key {
	return store.Key{Kind: store.Instances, Owner: string(key)}
}

func endpointKey(id usp.EndpointID) store.Key {
	return store.Key{Kind: store.Endpoint, Owner: string(id)}
}

func templateKey(id string) store.Key { return store.Key{Kind: store.Template, Owner: id} }
