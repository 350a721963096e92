package agent

import "github.com/uspbridge/uspbridge/usp/usppb"

// Short forms of requests.

func getReq(paths ...string) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: paths}}}
}

type kv struct {
	param, value string
	required     bool
}

func addReq(partial bool, objs ...*usppb.Add_CreateObject) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_Add{Add: &usppb.Add{AllowPartial: partial, CreateObjs: objs}}}
}

func create(path string, kvs ...kv) *usppb.Add_CreateObject {
	o := &usppb.Add_CreateObject{ObjPath: path}
	for _, s := range kvs {
		o.ParamSettings = append(o.ParamSettings, &usppb.Add_CreateParamSetting{Param: s.param, Value: s.value, Required: s.required})
	}
	return o
}

func setReq(partial bool, objs ...*usppb.Set_UpdateObject) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_Set{Set: &usppb.Set{AllowPartial: partial, UpdateObjs: objs}}}
}

func update(path string, kvs ...kv) *usppb.Set_UpdateObject {
	o := &usppb.Set_UpdateObject{ObjPath: path}
	for _, s := range kvs {
		o.ParamSettings = append(o.ParamSettings, &usppb.Set_UpdateParamSetting{Param: s.param, Value: s.value, Required: s.required})
	}
	return o
}

func deleteReq(partial bool, paths ...string) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_Delete{Delete: &usppb.Delete{AllowPartial: partial, ObjPaths: paths}}}
}

func operateReq(command, key string, resp bool, args map[string]string) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_Operate{Operate: &usppb.Operate{Command: command, CommandKey: key, SendResp: resp, InputArgs: args}}}
}

func instancesReq(first bool, paths ...string) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_GetInstances{GetInstances: &usppb.GetInstances{ObjPaths: paths, FirstLevelOnly: first}}}
}

func supportedReq(first, commands, events, params, keys bool, paths ...string) *usppb.Request {
	return &usppb.Request{ReqType: &usppb.Request_GetSupportedDm{GetSupportedDm: &usppb.GetSupportedDM{
		ObjPaths: paths, FirstLevelOnly: first, ReturnCommands: commands, ReturnEvents: events, ReturnParams: params, ReturnUniqueKeySets: keys,
	}}}
}
