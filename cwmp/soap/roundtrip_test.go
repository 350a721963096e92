package soap_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/beevik/etree"
	"pgregory.net/rapid"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// everyMessage has one of each message of package cwmp.
var everyMessage = []cwmp.Message{
	&cwmp.Inform{}, &cwmp.InformResponse{}, &cwmp.GetRPCMethods{}, &cwmp.GetRPCMethodsResponse{},
	&cwmp.GetParameterNames{}, &cwmp.GetParameterNamesResponse{}, &cwmp.GetParameterValues{}, &cwmp.GetParameterValuesResponse{},
	&cwmp.SetParameterValues{}, &cwmp.SetParameterValuesResponse{}, &cwmp.GetParameterAttributes{}, &cwmp.GetParameterAttributesResponse{},
	&cwmp.SetParameterAttributes{}, &cwmp.SetParameterAttributesResponse{}, &cwmp.AddObject{}, &cwmp.AddObjectResponse{},
	&cwmp.DeleteObject{}, &cwmp.DeleteObjectResponse{}, &cwmp.Reboot{}, &cwmp.RebootResponse{}, &cwmp.FactoryReset{}, &cwmp.FactoryResetResponse{},
	&cwmp.Download{}, &cwmp.DownloadResponse{}, &cwmp.Upload{}, &cwmp.UploadResponse{}, &cwmp.ScheduleDownload{}, &cwmp.ScheduleDownloadResponse{},
	&cwmp.ScheduleInform{}, &cwmp.ScheduleInformResponse{}, &cwmp.CancelTransfer{}, &cwmp.CancelTransferResponse{},
	&cwmp.GetQueuedTransfers{}, &cwmp.GetQueuedTransfersResponse{}, &cwmp.GetAllQueuedTransfers{}, &cwmp.GetAllQueuedTransfersResponse{},
	&cwmp.ChangeDUState{}, &cwmp.ChangeDUStateResponse{}, &cwmp.GetOptions{}, &cwmp.GetOptionsResponse{},
	&cwmp.SetVouchers{}, &cwmp.SetVouchersResponse{}, &cwmp.TransferComplete{}, &cwmp.TransferCompleteResponse{},
	&cwmp.AutonomousTransferComplete{}, &cwmp.AutonomousTransferCompleteResponse{}, &cwmp.DUStateChangeComplete{}, &cwmp.DUStateChangeCompleteResponse{},
	&cwmp.AutonomousDUStateChangeComplete{}, &cwmp.AutonomousDUStateChangeCompleteResponse{},
	&cwmp.RequestDownload{}, &cwmp.RequestDownloadResponse{}, &cwmp.Kicked{}, &cwmp.KickedResponse{}, &cwmp.Fault{},
}

// freeText are the members whose text is kept to the last blank; the others are
// names, types and times, which have no blanks around them.
var freeText = map[string]bool{"CommandKey": true, "ParameterKey": true, "Username": true, "Password": true, "TargetFileName": true, "UserMessage": true, "OptionName": true}

var (
	anyText = rapid.StringOf(rapid.SampledFrom([]rune("ab \t\r\n&<>\"';]#xä€😀")))
	aName   = rapid.StringMatching(`[A-Za-zä<&>][A-Za-z0-9._:&; -]{0,20}[A-Za-z.é]`)
)

// fill sets every member of v to something that CWMP can carry.
func fill(t *rapid.T, v reflect.Value, member string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
		settle(t, v)
	case reflect.Slice:
		list := reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, "n"), 3)
		for i := range list.Len() {
			fill(t, list.Index(i), member)
		}
		v.Set(list)
	case reflect.Pointer: // a Fault as a member
		if rapid.Bool().Draw(t, "fault") {
			v.Set(reflect.ValueOf(&cwmp.Fault{Code: cwmp.FaultCode(rapid.IntRange(1, 65535).Draw(t, "code")), Text: anyText.Draw(t, "text")}))
		}
	case reflect.String:
		if freeText[member] {
			v.SetString(anyText.Draw(t, member))
		} else {
			v.SetString(aName.Draw(t, member))
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, member))
	case reflect.Int8:
		v.SetInt(rapid.Int64Range(0, 6).Draw(t, member))
	case reflect.Int:
		v.SetInt(rapid.Int64Range(0, 1<<31-1).Draw(t, member))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.IntRange(int(cwmp.TypeString), int(cwmp.TypeDecimal)).Draw(t, member)))
	case reflect.Uint16:
		v.SetUint(uint64(rapid.IntRange(1, 65535).Draw(t, member)))
	case reflect.Uint32:
		v.SetUint(rapid.Uint64Range(0, 1<<32-1).Draw(t, member))
	default:
		t.Fatalf("member %s of kind %v", member, v.Kind())
	}
}

// settle makes members agree that depend on one another.
func settle(t *rapid.T, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *cwmp.Value:
		if p.Type == cwmp.TypeString {
			p.Text = anyText.Draw(t, "value")
		}
	case *cwmp.DUStateChangeComplete:
		for i := range p.Results {
			p.Results[i].OperationPerformed = "" // of autonomous changes only
		}
	case *cwmp.DUOperation:
		switch p.Kind = rapid.SampledFrom([]string{"Install", "Update", "Uninstall"}).Draw(t, "kind"); p.Kind {
		case "Install":
			p.Version = ""
		case "Update":
			p.ExecutionEnvRef = ""
		case "Uninstall":
			p.URL, p.Username, p.Password = "", "", ""
		}
	}
}

// TestRoundTrip writes every RPC with any arguments and reads it back, by this
// package and by an independent parser.
func TestRoundTrip(t *testing.T) {
	for _, m := range everyMessage {
		t.Run(m.RPC(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				body := reflect.New(reflect.TypeOf(m).Elem())
				fill(t, body.Elem(), "")
				e := &soap.Envelope{ID: aName.Draw(t, "ID"), HasID: true, Version: cwmp.Version(rapid.IntRange(0, 4).Draw(t, "version")),
					HoldRequests: rapid.Bool().Draw(t, "hold"), Body: body.Interface().(cwmp.Message)}
				out := soap.Append(nil, e)
				got, err := soap.Read(out, "", soap.Limits{})
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if d := diff(e, got); d != "" {
					t.Fatalf("%s\n%s", d, out)
				}
				checkIndependently(t, out, m.RPC())
			})
		})
	}
}

func checkIndependently(t *rapid.T, out []byte, rpc string) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(out); err != nil {
		t.Fatalf("not well-formed: %v\n%s", err, out)
	}
	bodies := doc.FindElements("/soapenv:Envelope/soapenv:Body/*")
	if len(bodies) != 1 || bodies[0].Tag != rpc {
		t.Fatalf("body is %v, want %s", bodies, rpc)
	}
	for _, array := range doc.FindElements("//*[@soapenc:arrayType]") {
		kind := array.SelectAttrValue("soapenc:arrayType", "")
		item, size, _ := strings.Cut(strings.TrimSuffix(kind[strings.IndexByte(kind, ':')+1:], "]"), "[")
		if n := len(array.SelectElements(item)); size != string(rune('0'+n)) || n != len(array.ChildElements()) {
			t.Fatalf("arrayType %s with %d items", kind, n)
		}
	}
}

// TestEveryMessage: a message that package cwmp gains must be added here, or the
// round trip misses it.
func TestEveryMessage(t *testing.T) {
	if got, want := len(everyMessage), soap.MessageCount(); got != want {
		t.Errorf("%d messages in the test, %d in the package", got, want)
	}
}
