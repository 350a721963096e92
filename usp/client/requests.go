package client

import (
	"context"
	"fmt"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Get reads parameters. maxDepth 0 means no bound.
func (c *Client) Get(ctx context.Context, agent usp.EndpointID, paths []string, maxDepth uint32) (*usppb.GetResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_GET, &usppb.Request{ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: paths, MaxDepth: maxDepth}}})
	return answered(r, err, agent, (*usppb.Response).GetGetResp)
}

// Set writes parameters.
func (c *Client) Set(ctx context.Context, agent usp.EndpointID, m *usppb.Set) (*usppb.SetResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_SET, &usppb.Request{ReqType: &usppb.Request_Set{Set: m}})
	return answered(r, err, agent, (*usppb.Response).GetSetResp)
}

// Add creates rows.
func (c *Client) Add(ctx context.Context, agent usp.EndpointID, m *usppb.Add) (*usppb.AddResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_ADD, &usppb.Request{ReqType: &usppb.Request_Add{Add: m}})
	return answered(r, err, agent, (*usppb.Response).GetAddResp)
}

// Delete removes rows.
func (c *Client) Delete(ctx context.Context, agent usp.EndpointID, m *usppb.Delete) (*usppb.DeleteResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_DELETE, &usppb.Request{ReqType: &usppb.Request_Delete{Delete: m}})
	return answered(r, err, agent, (*usppb.Response).GetDeleteResp)
}

// Operate runs a command.
func (c *Client) Operate(ctx context.Context, agent usp.EndpointID, m *usppb.Operate) (*usppb.OperateResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_OPERATE, &usppb.Request{ReqType: &usppb.Request_Operate{Operate: m}})
	return answered(r, err, agent, (*usppb.Response).GetOperateResp)
}

// GetInstances lists rows.
func (c *Client) GetInstances(ctx context.Context, agent usp.EndpointID, m *usppb.GetInstances) (*usppb.GetInstancesResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_GET_INSTANCES, &usppb.Request{ReqType: &usppb.Request_GetInstances{GetInstances: m}})
	return answered(r, err, agent, (*usppb.Response).GetGetInstancesResp)
}

// GetSupportedDM asks for the supported data model.
func (c *Client) GetSupportedDM(ctx context.Context, agent usp.EndpointID, m *usppb.GetSupportedDM) (*usppb.GetSupportedDMResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_GET_SUPPORTED_DM, &usppb.Request{ReqType: &usppb.Request_GetSupportedDm{GetSupportedDm: m}})
	return answered(r, err, agent, (*usppb.Response).GetGetSupportedDmResp)
}

// GetSupportedProtocol exchanges versions.
func (c *Client) GetSupportedProtocol(ctx context.Context, agent usp.EndpointID, versions string) (*usppb.GetSupportedProtocolResp, error) {
	r, err := c.Request(ctx, agent, usppb.Header_GET_SUPPORTED_PROTO, &usppb.Request{ReqType: &usppb.Request_GetSupportedProtocol{
		GetSupportedProtocol: &usppb.GetSupportedProtocol{ControllerSupportedProtocolVersions: versions}}})
	return answered(r, err, agent, (*usppb.Response).GetGetSupportedProtocolResp)
}

// answered takes the answer of the kind asked for out of a response.
func answered[T any](r *usppb.Response, err error, agent usp.EndpointID, take func(*usppb.Response) *T) (*T, error) {
	if err != nil {
		return nil, err
	}
	if v := take(r); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("%s answered with another kind of message (%T)", agent, r.GetRespType())
}
