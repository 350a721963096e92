package console

import (
	"context"
	"errors"
	"time"
)

// Fleet is what the console shows and does. All methods may be called
// concurrently and end with ctx.
type Fleet interface {
	// List returns devices in a stable order. next is "" behind the last one,
	// else what After must be to go on.
	List(ctx context.Context, q ListQuery) (devices []DeviceSummary, next string, err error)
	Show(ctx context.Context, endpoint string) (DeviceDetail, error)
	// Refresh reads the whole device again and returns when that is done.
	Refresh(ctx context.Context, endpoint string) error
	// Forget drops everything kept of a device. If it informs again it is new.
	Forget(ctx context.Context, endpoint string) error
	Explain(ctx context.Context, endpoint, path string) (Explanation, error)
	Coverage(ctx context.Context, endpoint string) (Report, error)
	// Audit returns the newest changes made through the bridge, newest first.
	Audit(ctx context.Context, endpoint string, limit int) ([]AuditEntry, error)
	// Capture calls line for each line of a capture of CWMP sessions, with its
	// end, and returns nil when the capture is over or ctx has ended.
	Capture(ctx context.Context, q CaptureQuery, line func([]byte) error) error
}

// The failures that have a status of their own; a Fleet wraps them.
var (
	ErrUnknownDevice = errors.New("no such device; `uspbridge device list` shows those that were heard")
	ErrInvalid       = errors.New("invalid request")
	ErrNoAnswer      = errors.New("the device did not answer")
	ErrBusy          = errors.New("too much at once")
)

// ListQuery selects devices.
type ListQuery struct {
	Filter string // part of endpoint id, manufacturer, serial number or software version, in any case; "": all
	After  string // next of the answer before
	Limit  int
}

// DeviceSummary is a device in a list.
type DeviceSummary struct {
	Endpoint        string    `json:"endpoint"`
	Kind            string    `json:"kind"`       // bridged: a CPE; native: an agent whose records are relayed
	Transport       string    `json:"transport"`  // over which it was heard last: CWMP or a transport of USP
	LastHeard       time.Time `json:"last_heard"` // of a bridged device, its last Inform
	Manufacturer    string    `json:"manufacturer"`
	OUI             string    `json:"oui"`
	ProductClass    string    `json:"product_class"`
	SerialNumber    string    `json:"serial_number"`
	SoftwareVersion string    `json:"software_version"`
	RootDataModel   string    `json:"root_data_model"` // TR-098 or TR-181, "" if not known yet
	Stage           string    `json:"stage"`
	Discovered      bool      `json:"discovered"` // its tree is known: controllers can manage it
	LastInform      time.Time `json:"last_inform"`
	InSession       bool      `json:"in_session"`
}

// DeviceDetail is all there is to say of one device.
type DeviceDetail struct {
	DeviceSummary
	HardwareVersion      string    `json:"hardware_version,omitempty"`
	CWMPVersion          string    `json:"cwmp_version,omitempty"`
	DataModelVersion     string    `json:"data_model_version,omitempty"`
	FirstInform          time.Time `json:"first_inform,omitzero"`
	LastEvents           []string  `json:"last_events,omitempty"`
	LastSession          time.Time `json:"last_session,omitzero"`
	Reachability         string    `json:"reachability"`         // in words
	NextInform           time.Time `json:"next_inform,omitzero"` // expected without a connection request
	ConnectionRequestURL string    `json:"connection_request_url,omitempty"`
	LastWake             time.Time `json:"last_connection_request,omitzero"`
	DiscoveredAt         time.Time `json:"discovered_at,omitzero"`
	Parameters           int       `json:"parameters"`
	Mappings             string    `json:"mappings,omitempty"`
	Watched              int       `json:"watched"` // CPE parameters whose changes are reported to controllers
	NotificationsDenied  []string  `json:"notifications_denied,omitempty"`
	Notifications        []string  `json:"notifications,omitempty"`    // how changes of watched parameters come to be known
	Profiles             []string  `json:"profiles,omitempty"`         // device profiles that are for it
	Learnt               []string  `json:"learnt,omitempty"`           // what it cannot do, in words
	SupportedRPCs        []string  `json:"supported_rpcs,omitempty"`   // its answer to GetRPCMethods
	UnsupportedRPCs      []string  `json:"unsupported_rpcs,omitempty"` // it answers 9000 to them
	RefusedSettings      []string  `json:"refused_settings,omitempty"` // of its management server, and why
	DiscoveryTrouble     string    `json:"discovery_trouble,omitempty"`
	Conflict             string    `json:"conflict,omitempty"` // a native endpoint that has its id, in words

	// Of a native agent.
	Address        string    `json:"address,omitempty"` // at a broker
	Authenticated  bool      `json:"authenticated,omitempty"`
	FirstHeard     time.Time `json:"first_heard,omitzero"`
	WaitingRecords int       `json:"waiting_records,omitempty"` // until it is heard again
	WaitingBytes   int       `json:"waiting_bytes,omitempty"`
}

// Native tells whether the device is a native agent.
func (d DeviceSummary) Native() bool { return d.Kind == "native" }

// Explanation says where a USP path lives on the CPE, or where controllers see a
// parameter of the CPE.
type Explanation struct {
	Path       string    `json:"path"`
	Value      string    `json:"value"`
	Error      string    `json:"error,omitempty"` // why there is no value
	ReadAt     time.Time `json:"read_at,omitzero"`
	Writable   bool      `json:"writable"`
	ReadOnly   string    `json:"read_only,omitempty"`  // why it is not writable
	Conversion string    `json:"conversion,omitempty"` // in words
	Rule       string    `json:"rule,omitempty"`       // file and line of the mapping
	Profiles   []string  `json:"profiles,omitempty"`   // device profiles of the device
	Learnt     []string  `json:"learnt,omitempty"`     // what the device cannot do, in words
	Sources    []Source  `json:"sources"`
	Homes      []Home    `json:"homes,omitempty"` // of a parameter of the CPE, which has no Sources
}

// Home is a USP path that is read from a parameter of the CPE.
type Home struct {
	Path     string `json:"path"`
	Value    string `json:"value"`
	Error    string `json:"error,omitempty"` // why there is no value
	Writable bool   `json:"writable"`
	Rule     string `json:"rule"`
}

// Source is one CPE parameter behind a USP path.
type Source struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Report says what share of a device's parameters has which home.
type Report struct {
	Total     int      `json:"total"`
	Standard  int      `json:"standard"`   // at a standard Device:2 path
	Vendor    int      `json:"vendor"`     // under a vendor name
	Raw       int      `json:"raw"`        // below Device.X_USPBRIDGE_CWMP.Raw.
	RawGroups []Group  `json:"raw_groups"` // largest first
	RawNames  []string `json:"raw_names"`  // the parameters in them, with {i} for instances
}

// Group is a CPE object with raw parameters.
type Group struct {
	Path  string `json:"path"`
	Count int    `json:"count"`
}

// Share returns n in percent of all parameters.
func (r Report) Share(n int) float64 {
	if r.Total == 0 {
		return 0
	}
	return 100 * float64(n) / float64(r.Total)
}

// AuditEntry is one change made through the bridge.
type AuditEntry struct {
	Time   time.Time         `json:"time"`
	Who    string            `json:"who"`  // endpoint id of the controller
	What   string            `json:"what"` // Set, Add, Delete, Operate
	Path   string            `json:"path"`
	Values map[string]string `json:"values,omitempty"` // secrets masked
	Result string            `json:"result"`           // "ok" or the error
}

// Check is one thing that must hold for the bridge to be ready.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}
