package conformance

import (
	"maps"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// appropriate are the error codes that TR-369 names for each message, in the text
// of the message or in the table of error codes. 7000 and 7001 are for the Error
// message alone.
var appropriate = map[usppb.Header_MsgType][]span{
	usppb.Header_ADD:                 {{7000, 7019}, {7021, 7021}, {7025, 7026}},
	usppb.Header_SET:                 {{7000, 7016}, {7020, 7021}, {7025, 7026}},
	usppb.Header_DELETE:              {{7000, 7008}, {7015, 7016}, {7018, 7018}, {7024, 7024}, {7026, 7026}},
	usppb.Header_GET:                 {{7000, 7006}, {7008, 7008}, {7010, 7010}, {7016, 7016}, {7026, 7026}},
	usppb.Header_GET_INSTANCES:       {{7000, 7006}, {7008, 7008}, {7016, 7016}, {7018, 7018}, {7026, 7026}},
	usppb.Header_GET_SUPPORTED_DM:    {{7000, 7006}, {7008, 7008}, {7016, 7016}, {7026, 7026}},
	usppb.Header_GET_SUPPORTED_PROTO: {{7000, 7006}},
	usppb.Header_NOTIFY:              {{7000, 7006}},
	usppb.Header_OPERATE:             {{7000, 7008}, {7016, 7016}, {7022, 7023}, {7026, 7027}},
	usppb.Header_REGISTER:            {{7000, 7008}, {7016, 7016}, {7028, 7029}},
	usppb.Header_DEREGISTER:          {{7000, 7008}, {7016, 7016}, {7030, 7031}},
}

type span struct{ least, most uint32 }

// code checks an error code: it must be one that the request may be answered
// with, and the one that the standard has for this.
func (a *answer) code(what string, code uint32, msg string, want ...usp.ErrorCode) {
	a.t.Helper()
	if !slices.ContainsFunc(appropriate[a.request], func(s span) bool { return s.least <= code && code <= s.most }) {
		a.t.Errorf("%s: %d is no error code for %s", what, code, a.request)
	}
	if !slices.Contains(want, usp.ErrorCode(code)) {
		a.t.Errorf("%s: error %d (%s), want one of %d", what, code, msg, want)
	}
	if msg == "" {
		a.t.Errorf("%s: error %d has no text", what, code)
	}
}

// refusal is an Error message.
type refusal struct {
	a *answer
	*usppb.Error
}

// refused expects an Error message with one of some codes.
func (a *answer) refused(want ...usp.ErrorCode) refusal {
	a.t.Helper()
	e := a.msg.GetBody().GetError()
	if e == nil {
		a.t.Fatalf("%s was not refused: %v", a.request, a.msg.GetBody())
	}
	a.code(a.request.String(), e.GetErrCode(), e.GetErrMsg(), want...)
	return refusal{a, e}
}

// blames expects that an Error has one param_err: of a path, with one of some
// codes.
func (r refusal) blames(path string, want ...usp.ErrorCode) {
	r.a.t.Helper()
	if len(r.GetParamErrs()) != 1 {
		r.a.t.Errorf("the Error has %d param_errs, want one: %v", len(r.GetParamErrs()), r.Error)
		return
	}
	p := r.GetParamErrs()[0]
	if p.GetParamPath() != path {
		r.a.t.Errorf("param_path is %s, want %s", p.GetParamPath(), path)
	}
	r.a.code(path, p.GetErrCode(), p.GetErrMsg(), want...)
}

// response returns the response; an Error ends the case.
func (a *answer) response() *usppb.Response {
	a.t.Helper()
	if e := a.msg.GetBody().GetError(); e != nil {
		a.t.Fatalf("%s was refused: %v", a.request, e)
	}
	return a.msg.GetBody().GetResponse()
}

// results returns n results of a response; another number ends the case.
func results[T any](a *answer, list []T, n int) []T {
	a.t.Helper()
	if len(list) != n {
		a.t.Fatalf("%s has %d results, want %d: %v", a.request, len(list), n, a.msg)
	}
	return list
}

// created expects an AddResp of one row for each list of unique keys, without
// param_errs, and returns the rows.
func (a *answer) created(keys ...[]string) (rows []string) {
	a.t.Helper()
	for i, r := range results(a, a.response().GetAddResp().GetCreatedObjResults(), len(keys)) {
		rows = append(rows, a.success(r, keys[i]))
	}
	return rows
}

// success expects that a row was created without param_errs.
func (a *answer) success(r *usppb.AddResp_CreatedObjectResult, keys []string) string {
	a.t.Helper()
	ok := r.GetOperStatus().GetOperSuccess()
	if ok == nil {
		a.t.Fatalf("no row was created: %v", r)
	}
	if len(ok.GetParamErrs()) > 0 {
		a.t.Errorf("param_errs: %v", ok.GetParamErrs())
	}
	if got := slices.Collect(maps.Keys(ok.GetUniqueKeys())); !same(got, keys) {
		a.t.Errorf("unique_keys are %v, want %v", got, keys)
	}
	return ok.GetInstantiatedPath()
}

// failure expects that a row was not created.
func (a *answer) failure(r *usppb.AddResp_CreatedObjectResult, want ...usp.ErrorCode) {
	a.t.Helper()
	f := r.GetOperStatus().GetOperFailure()
	if f == nil {
		a.t.Fatalf("the row was not refused: %v", r)
	}
	a.code(r.GetRequestedPath(), f.GetErrCode(), f.GetErrMsg(), want...)
}

// Unique keys of tables.
var (
	subscriptionKeys  = []string{"Alias", "Recipient", "ID"}
	bootParameterKeys = []string{"Alias", "ParameterName"}
)

// updates returns the n results of a SetResp.
func (a *answer) updates(n int) []*usppb.SetResp_UpdatedObjectResult {
	a.t.Helper()
	return results(a, a.response().GetSetResp().GetUpdatedObjResults(), n)
}

// updated expects that a result is the success of exactly these objects, each
// with exactly these parameters and no param_errs.
func (a *answer) updated(r *usppb.SetResp_UpdatedObjectResult, objects []string, params ...string) {
	a.t.Helper()
	ok := r.GetOperStatus().GetOperSuccess()
	if ok == nil {
		a.t.Fatalf("the update failed: %v", r)
	}
	var got []string
	for _, i := range ok.GetUpdatedInstResults() {
		got = append(got, i.GetAffectedPath())
		if names := slices.Collect(maps.Keys(i.GetUpdatedParams())); !same(names, params) || len(i.GetParamErrs()) > 0 {
			a.t.Errorf("%s: updated_params %v, param_errs %v; want %v and none", i.GetAffectedPath(), i.GetUpdatedParams(), i.GetParamErrs(), params)
		}
	}
	if !same(got, objects) {
		a.t.Errorf("affected are %v, want %v", got, objects)
	}
}

// notUpdated expects that a result is the failure of exactly these objects, each
// because of one parameter.
func (a *answer) notUpdated(r *usppb.SetResp_UpdatedObjectResult, objects []string, param string, want ...usp.ErrorCode) {
	a.t.Helper()
	f := r.GetOperStatus().GetOperFailure()
	if f == nil {
		a.t.Fatalf("the update did not fail: %v", r)
	}
	a.code(r.GetRequestedPath(), f.GetErrCode(), f.GetErrMsg(), usp.ErrRequiredParameterFailed, usp.ErrObjectNotUpdated)
	var got []string
	for _, i := range f.GetUpdatedInstFailures() {
		got = append(got, i.GetAffectedPath())
		if e := i.GetParamErrs(); len(e) != 1 || e[0].GetParam() != param {
			a.t.Errorf("%s: param_errs %v, want one of %s", i.GetAffectedPath(), e, param)
		} else {
			a.code(param, e[0].GetErrCode(), e[0].GetErrMsg(), want...)
		}
	}
	if !same(got, objects) {
		a.t.Errorf("affected are %v, want %v", got, objects)
	}
}

// deleted expects a DeleteResp of one success for each list of rows: those that
// were deleted for one obj_path.
func (a *answer) deleted(rows ...[]string) {
	a.t.Helper()
	for i, r := range a.deletions(len(rows)) {
		a.removed(r, rows[i]...)
	}
}

func (a *answer) deletions(n int) []*usppb.DeleteResp_DeletedObjectResult {
	a.t.Helper()
	return results(a, a.response().GetDeleteResp().GetDeletedObjResults(), n)
}

func (a *answer) removed(r *usppb.DeleteResp_DeletedObjectResult, rows ...string) {
	a.t.Helper()
	ok := r.GetOperStatus().GetOperSuccess()
	if ok == nil {
		a.t.Fatalf("the deletion failed: %v", r)
	}
	if !same(ok.GetAffectedPaths(), rows) || len(ok.GetUnaffectedPathErrs()) > 0 {
		a.t.Errorf("deleted %v with errors %v, want %v and none", ok.GetAffectedPaths(), ok.GetUnaffectedPathErrs(), rows)
	}
}

// got returns the n results of a GetResp.
func (a *answer) got(n int) []*usppb.GetResp_RequestedPathResult {
	a.t.Helper()
	return results(a, a.response().GetGetResp().GetReqPathResults(), n)
}

// resolved expects that a requested path gave exactly these objects without an
// error, with parameters named relative to them, and returns their parameters.
func (a *answer) resolved(r *usppb.GetResp_RequestedPathResult, requested string, objects ...string) map[string]map[string]string {
	a.t.Helper()
	all := a.values(r, requested)
	if got := slices.Collect(maps.Keys(all)); !same(got, objects) {
		a.t.Errorf("%s resolved to %v, want %v", requested, got, objects)
	}
	return all
}

// values returns the parameters by object of a requested path that gave no error.
func (a *answer) values(r *usppb.GetResp_RequestedPathResult, requested string) map[string]map[string]string {
	a.t.Helper()
	if r.GetRequestedPath() != requested || r.GetErrCode() != 0 || r.GetErrMsg() != "" {
		a.t.Errorf("the result is of %s, with error %d %s; want %s and none", r.GetRequestedPath(), r.GetErrCode(), r.GetErrMsg(), requested)
	}
	all := map[string]map[string]string{}
	for _, o := range r.GetResolvedPathResults() {
		if all[o.GetResolvedPath()] != nil {
			a.t.Errorf("%s is resolved twice", o.GetResolvedPath())
		}
		all[o.GetResolvedPath()] = o.GetResultParams()
		for name := range o.GetResultParams() {
			if name == "" || strings.HasPrefix(name, "Device.") {
				a.t.Errorf("%s: %q is no relative path", o.GetResolvedPath(), name)
			}
		}
	}
	return all
}

// unresolved expects that a requested path gave an error and nothing else.
func (a *answer) unresolved(r *usppb.GetResp_RequestedPathResult, requested string, want ...usp.ErrorCode) {
	a.t.Helper()
	if r.GetRequestedPath() != requested || len(r.GetResolvedPathResults()) > 0 {
		a.t.Errorf("the result is %v, want an error of %s alone", r, requested)
	}
	a.code(requested, r.GetErrCode(), r.GetErrMsg(), want...)
}

// instances expects the result of one path without an error.
func (a *answer) instances() []*usppb.GetInstancesResp_CurrInstance {
	a.t.Helper()
	r := results(a, a.response().GetGetInstancesResp().GetReqPathResults(), 1)[0]
	if r.GetErrCode() != 0 {
		a.t.Fatalf("GetInstances of %s: %d %s", r.GetRequestedPath(), r.GetErrCode(), r.GetErrMsg())
	}
	return r.GetCurrInsts()
}

// operated expects an OperateResp of one result.
func (a *answer) operated(command string) *usppb.OperateResp_OperationResult {
	a.t.Helper()
	r := results(a, a.response().GetOperateResp().GetOperationResults(), 1)[0]
	if r.GetExecutedCommand() != command {
		a.t.Errorf("executed_command is %s, want %s", r.GetExecutedCommand(), command)
	}
	return r
}

// row adds a row as a preparation and returns its path.
func (t *trial) row(table string, settings ...string) string {
	t.Helper()
	a := t.Add(whole, create(table, settings...))
	r := results(a, a.response().GetAddResp().GetCreatedObjResults(), 1)[0].GetOperStatus().GetOperSuccess()
	if r.GetInstantiatedPath() == "" || len(r.GetParamErrs()) > 0 {
		t.Fatalf("Add of %s %v: %v", table, settings, a.msg)
	}
	return r.GetInstantiatedPath()
}

// subscribe adds an enabled subscription and returns its row.
func (t *trial) subscribe(id, kind, reference string, settings ...string) string {
	t.Helper()
	return t.row(subscriptions, append([]string{"Enable=true", "ID=" + id, "NotifType=" + kind, "*ReferenceList=" + reference}, settings...)...)
}

// put changes parameters as a preparation.
func (t *trial) put(object string, settings ...string) {
	t.Helper()
	a := t.Set(whole, change(object, settings...))
	for _, r := range a.updates(1)[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults() {
		if len(r.GetParamErrs()) > 0 {
			t.Fatalf("Set of %s %v: %v", object, settings, a.msg)
		}
	}
}

// value reads one parameter.
func (t *trial) value(path string) string {
	t.Helper()
	at := strings.LastIndexByte(path, '.') + 1
	a := t.Get(path)
	all := a.resolved(a.got(1)[0], path, path[:at])
	return all[path[:at]][path[at:]]
}

// holds expects values of parameters of an object, as setting reads them.
func (t *trial) holds(object string, settings ...string) {
	t.Helper()
	a := t.Get(object)
	all := a.values(a.got(1)[0], object)
	for _, s := range settings {
		name, want, _ := setting(s)
		if got, ok := all[object][name]; !ok || got != want {
			t.Errorf("%s%s is %q, want %q", object, name, got, want)
		}
	}
}

// rows returns the rows of a table.
func (t *trial) rows(table string) (rows []string) {
	t.Helper()
	for _, r := range t.Instances(oneOnly, table).instances() {
		rows = append(rows, r.GetInstantiatedObjPath())
	}
	return rows
}

// unchanged expects that a table has the same rows still.
func (t *trial) unchanged(table string, before []string) {
	t.Helper()
	if got := t.rows(table); !same(got, before) {
		t.Errorf("%s has the rows %v, want %v", table, got, before)
	}
}
