package translate

import (
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// unknownTime is TR-106's "the time is not known".
const unknownTime = "0001-01-01T00:00:00Z"

// own returns the value of a parameter that the bridge itself serves, by its name
// below Device.: one of X_USPBRIDGE_CWMP., or of a firmware image, whose row is
// inst. The mapping offers no others.
func (b *Bridge) own(s *snapshot, name string, inst dm.Instance) string {
	rec := s.rec
	if strings.HasPrefix(name, "DeviceInfo.") {
		return rec.image(name, inst.Last())
	}
	switch name {
	case "X_USPBRIDGE_CWMP.Stage":
		return string(rec.Stage)
	case "X_USPBRIDGE_CWMP.CWMPVersion":
		return rec.CWMPVersion
	case "X_USPBRIDGE_CWMP.RootDataModel":
		return rootDataModel(rec)
	case "X_USPBRIDGE_CWMP.LastInform":
		return dateTime(rec.LastInform)
	case "X_USPBRIDGE_CWMP.LastSession":
		return dateTime(rec.LastSession)
	case "X_USPBRIDGE_CWMP.Reachable":
		return b.reachability(rec.Key(), s)
	case "X_USPBRIDGE_CWMP.ReachableBy":
		return b.reachableBy(rec.Key(), s)
	case "X_USPBRIDGE_CWMP.NextInform":
		return dateTime(s.nextInform())
	case "X_USPBRIDGE_CWMP.CacheAge":
		return strconv.FormatInt(int64(b.now().Sub(rec.Discovered).Seconds()), 10)
	case "X_USPBRIDGE_CWMP.Mapping":
		return s.program.Mappings()
	case "X_USPBRIDGE_CWMP.Profiles":
		return strings.Join(b.profile(rec).Names, ",")
	case "X_USPBRIDGE_CWMP.Learnt":
		return strings.Join(rec.Describe(), "; ")
	case "X_USPBRIDGE_CWMP.SupportedRPCs":
		return strings.Join(rec.Methods, ",")
	case "X_USPBRIDGE_CWMP.UnsupportedRPCs":
		return strings.Join(rec.Learnt.Refusals(), ",")
	case "X_USPBRIDGE_CWMP.RefusedSettings":
		return strings.Join(rec.Refusals(), "; ")
	case "X_USPBRIDGE_CWMP.Notifications":
		return strings.Join(rec.Notifications(), ", ")
	case "X_USPBRIDGE_CWMP.Discovery":
		return rec.Discovery()
	}
	return ""
}

func rootDataModel(rec *Record) string {
	if rec.DataModel == "" {
		return string(rec.Root)
	}
	return string(rec.Root) + " " + rec.DataModel
}

func dateTime(t time.Time) string {
	if t.IsZero() {
		return unknownTime
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
